package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/wafleet/wafleet/shared/apikey"
)

// keyOf returns the key of this run in the clear: the given one, else the one
// that an earlier run kept in file, else a new one that is kept there.
func keyOf(given, file string) (string, error) {
	if given != "" {
		return given, nil
	}
	key, err := readKey(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	key = apikey.New().Reveal()
	if err := writePrivate(file, []byte(key+"\n")); err != nil {
		return "", fmt.Errorf("keep the API key: %w", err)
	}
	return key, nil
}

// readKey reads a kept key and makes the file private again where it is not.
func readKey(file string) (string, error) {
	info, err := os.Stat(file)
	if err != nil {
		return "", err
	}
	if info.Mode().Perm()&0o077 != 0 {
		if err := os.Chmod(file, 0o600); err != nil {
			return "", fmt.Errorf("make the API key private: %w", err)
		}
	}
	content, err := os.ReadFile(file) // #nosec G304 -- below the data directory that the operator names
	if err != nil {
		return "", err
	}
	key := strings.TrimSpace(string(content))
	if _, _, err := apikey.Parse(key); err != nil {
		return "", fmt.Errorf("%s holds no API key; remove the file to get a new one", file)
	}
	return key, nil
}
