package session

import (
	"fmt"
	"path"
	"regexp"
	"strings"
)

// dataPrefix is the documented directory. In an address it means the session's
// own data directory, so two sessions on the default path have two files.
const dataPrefix = "/app/data/"

const (
	maxAddress = 255
	maxDepth   = 8
)

// segmentPattern allows no separator, no NUL, no query part of a database URL
// and no name that means "here" or "up".
var segmentPattern = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}$`)

// DataPath returns the file that a sqlite3 address names, relative to the
// session's own data directory and with forward slashes. It is a purely lexical
// check: whoever opens the file still has to refuse symbolic links that leave
// the directory. The error completes the sentence "config.store.address ...".
func DataPath(address string) (string, error) {
	relative, ok := strings.CutPrefix(address, dataPrefix)
	switch {
	case len(address) > maxAddress:
		return "", fmt.Errorf("must be at most %d characters", maxAddress)
	case !ok && strings.HasPrefix(address, "/"):
		return "", fmt.Errorf("must be a file under %s", dataPrefix)
	}
	segments := strings.Split(relative, "/")
	if len(segments) > maxDepth {
		return "", fmt.Errorf("must have at most %d directories", maxDepth)
	}
	for _, segment := range segments {
		if !segmentPattern.MatchString(segment) {
			return "", fmt.Errorf("must be a plain file name under %s: letters, digits, '.', '_' and '-' only, no part that is empty or starts with a dot", dataPrefix)
		}
	}
	return path.Join(segments...), nil
}
