package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

var (
	errNoCommand = errors.New(`the event must be one JSON object with a command, such as {"command":"create-key","tenant":"acme"}`)

	commandPattern = regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`)
	fieldPattern   = regexp.MustCompile(`^[a-z]+([A-Z-]?[a-z]+)*$`)
	capital        = regexp.MustCompile(`[A-Z]`)
)

// parseEvent reads an event as the command line that means the same. A field
// that the command does not have is refused.
func parseEvent(event json.RawMessage) (*kong.Context, error) {
	args, err := argsOf(event)
	if err != nil {
		return nil, err
	}
	// Without the help there is nothing that could end the process.
	parser, err := kong.New(&commands{}, kong.Name("wafleet"), kong.NoDefaultHelp())
	if err != nil {
		return nil, err
	}
	return parser.Parse(args)
}

// argsOf turns {"command":"x","fieldName":"value"} into x --field-name=value.
func argsOf(event json.RawMessage) ([]string, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(event, &fields); err != nil {
		return nil, errNoCommand
	}
	var name string
	if err := json.Unmarshal(fields["command"], &name); err != nil || !commandPattern.MatchString(name) {
		return nil, errNoCommand
	}
	delete(fields, "command")
	args, flags := []string{name}, map[string]bool{}
	for _, field := range slices.Sorted(maps.Keys(fields)) {
		if !fieldPattern.MatchString(field) {
			return nil, fmt.Errorf("%q is no name of a field", field)
		}
		flag := capital.ReplaceAllStringFunc(field, func(letter string) string { return "-" + strings.ToLower(letter) })
		if flags[flag] {
			return nil, fmt.Errorf("the field %s is given twice", flag)
		}
		flags[flag] = true
		value, err := valueOf(fields[field])
		if err != nil {
			return nil, fmt.Errorf("the field %s %w", field, err)
		}
		args = append(args, "--"+flag+"="+value)
	}
	return args, nil
}

func valueOf(raw json.RawMessage) (string, error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber() // as it was written
	var value any
	if err := decoder.Decode(&value); err != nil {
		return "", err
	}
	switch value.(type) {
	case string, json.Number, bool:
		return fmt.Sprint(value), nil
	}
	return "", errors.New("must be a string, a number, true or false")
}
