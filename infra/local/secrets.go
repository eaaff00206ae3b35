package main

import (
	"errors"
	"io/fs"

	"github.com/wafleet/wafleet/shared/secret"
)

func secretsKeyPath(data *dataDir) string { return data.in("secrets.key") }

// secretsKey opens the key file, which the first run makes. It is never made
// anew while the data lives: what is sealed with it could not be read again.
func secretsKey(data *dataDir) (*secret.Box, error) {
	path := secretsKeyPath(data)
	if err := secret.CreateFile(path); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return secret.OpenFile(path)
}
