package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/aws/aws-lambda-go/cfn"
	"github.com/aws/aws-lambda-go/lambda"
)

const (
	// resourceID never changes: another one would have CloudFormation delete what
	// it takes for the old resource.
	resourceID = "wafleet-schema"
	// answerTimeout bounds the call that tells CloudFormation; reserve has room for it.
	answerTimeout = 5 * time.Second
	// maxReason keeps the answer below the 4096 bytes that CloudFormation takes.
	maxReason = 1000
)

// serveLambda serves events until Lambda ends the process.
func serveLambda(m migrator) {
	http.DefaultClient.Timeout = answerTimeout // package cfn uses it
	lambda.StartWithOptions(func(ctx context.Context, event json.RawMessage) (any, error) {
		switch kindOf(event) {
		case kindResource:
			return nil, m.answerResource(ctx, event)
		case kindCommand:
			return m.command(ctx)
		}
		return nil, errUnknownEvent
	}, lambda.WithEnableSIGTERM(func() { os.Exit(0) }))
}

// answerResource does what CloudFormation asks for and tells it at the URL of the
// event, a panic too. The error says that it could not be told: Lambda delivers
// the event again then. The URL is a credential and in no error.
func (m migrator) answerResource(ctx context.Context, raw json.RawMessage) error {
	var event cfn.Event
	if err := json.Unmarshal(raw, &event); err != nil {
		return fmt.Errorf("decode the event: %w", err)
	}
	_, err := cfn.LambdaWrap(m.resource)(ctx, event)
	var of *url.Error
	if errors.As(err, &of) {
		err = of.Err
	}
	if err != nil {
		err = fmt.Errorf("tell CloudFormation: %w", err)
		m.log.ErrorContext(ctx, "the answer is lost", "error", err.Error())
	}
	return err
}

// resource is the custom resource. An error is the reason that CloudFormation
// shows.
func (m migrator) resource(ctx context.Context, event cfn.Event) (id string, data map[string]any, err error) {
	log := m.log.With("request", string(event.RequestType), "request_id", event.RequestID)
	switch event.RequestType {
	case cfn.RequestDelete:
		log.InfoContext(ctx, "nothing is deleted: the data is the database's")
		return resourceID, nil, nil
	case cfn.RequestCreate, cfn.RequestUpdate:
	default:
		return resourceID, nil, fmt.Errorf("%q is no request that this version knows", event.RequestType)
	}
	version, err := m.migrate(ctx)
	if err != nil {
		log.ErrorContext(ctx, "the migration failed", "error", err.Error())
		return resourceID, nil, errors.New(shortened(err.Error()))
	}
	return resourceID, map[string]any{"SchemaVersion": strconv.FormatInt(version, 10)}, nil
}

func shortened(text string) string {
	if len(text) <= maxReason {
		return text
	}
	return text[:maxReason] + " ..."
}
