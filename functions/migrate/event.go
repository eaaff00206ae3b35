package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
)

// kind is what an event is.
type kind int

const (
	kindUnknown  kind = iota
	kindResource      // a custom resource of CloudFormation
	kindCommand       // a person
)

var errUnknownEvent = errors.New(`this function serves custom resources of CloudFormation, {} and {"command":"migrate"} only`)

func kindOf(event json.RawMessage) kind {
	var resource struct{ RequestType, ResponseURL string }
	if json.Unmarshal(event, &resource) != nil {
		return kindUnknown
	}
	if resource.RequestType != "" && resource.ResponseURL != "" {
		return kindResource
	}
	command := struct{ Command string }{Command: "migrate"}
	decoder := json.NewDecoder(bytes.NewReader(event))
	decoder.DisallowUnknownFields()
	if decoder.Decode(&command) == nil && command.Command == "migrate" {
		return kindCommand
	}
	return kindUnknown
}

// migrated is the answer to a person.
type migrated struct {
	SchemaVersion int64 `json:"schemaVersion"`
}

func (m migrator) command(ctx context.Context) (any, error) {
	version, err := m.migrate(ctx)
	if err != nil {
		m.log.ErrorContext(ctx, "the migration failed", "error", err.Error())
		return nil, err
	}
	return migrated{version}, nil
}
