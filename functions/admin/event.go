package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/wafleet/wafleet/shared/session"
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
	fields, err := session.DecodeFields(event)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoCommand, err)
	}
	name, _ := fields["command"].(string)
	if !commandPattern.MatchString(name) {
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
		switch value := fields[field].(type) {
		case string, json.Number, bool:
			args = append(args, fmt.Sprintf("--%s=%v", flag, value))
		default:
			return nil, fmt.Errorf("the field %s must be a string, a number, true or false", flag)
		}
	}
	return args, nil
}
