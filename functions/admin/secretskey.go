package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/wafleet/wafleet/shared/secret"
)

// createSecretsKey is a command of the command line only: a file that a Lambda
// makes is gone with it.
type createSecretsKey struct {
	File string `required:"" placeholder:"PATH" help:"The file; one that is there stays as it is."`
}

func (c *createSecretsKey) do(context.Context, desk) (answer, error) {
	err := secret.CreateFile(c.File)
	made := err == nil
	if errors.Is(err, fs.ErrExist) {
		_, err = secret.OpenFile(c.File)
	}
	return secretsKey{File: c.File, Made: made}, err
}

// secretsKey is a key file that is there now.
type secretsKey struct {
	File string `json:"file"`
	Made bool   `json:"made"` // false: it was there before
}

func (a secretsKey) text(out, notices io.Writer) {
	if !a.Made {
		fmt.Fprintf(out, "%s is there already and stays as it is\n", a.File)
		return
	}
	fmt.Fprintln(out, a.File)
	fmt.Fprintln(notices, "Back this file up: without it no secret of a config can be read again. SECRETS_KEY_FILE names it to the API and the connectors.")
}
