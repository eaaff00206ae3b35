package secret

import (
	"errors"
	"fmt"
)

// Place is where a deployment has its key. The zero value is nowhere.
type Place struct {
	file *Box
	arn  string
}

// ParsePlace reads SECRETS_KEY_FILE and SECRETS_KMS_KEY: at most one of them. A
// key file is opened; KMS is not asked.
func ParsePlace(keyFile, kmsKey string) (Place, error) {
	var (
		p        Place
		problems []error
		err      error
	)
	if keyFile != "" && kmsKey != "" {
		problems = append(problems, errors.New("SECRETS_KEY_FILE and SECRETS_KMS_KEY must not be set together"))
	}
	if keyFile != "" {
		if p.file, err = OpenFile(keyFile); err != nil {
			problems = append(problems, fmt.Errorf("SECRETS_KEY_FILE: %w", err))
		}
	}
	if kmsKey != "" {
		if err := CheckARN(kmsKey); err != nil {
			problems = append(problems, fmt.Errorf("SECRETS_KMS_KEY %w", err))
		}
		p.arn = kmsKey
	}
	if len(problems) > 0 {
		return Place{}, errors.Join(problems...)
	}
	return p, nil
}

// Box returns the box of the deployment, nil where it has no key. stored is
// where a fleet's data keyset lies.
func (p Place) Box(stored Keys) *Box {
	if p.arn != "" {
		return &Box{newFleet(p.arn, stored)}
	}
	return p.file
}

// String is for logs: which kind, and nothing else.
func (p Place) String() string {
	switch {
	case p.arn != "":
		return "kms"
	case p.file != nil:
		return "file"
	}
	return "none"
}
