package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

// serveLambda serves events until Lambda ends the process. It announces that
// with SIGTERM, never during an event: then release runs and the process exits,
// so that the database does not have to find out about its connections.
func serveLambda(d desk, log *slog.Logger, release func() error) {
	lambda.StartWithOptions(func(ctx context.Context, event json.RawMessage) (any, error) {
		d := d
		if invocation, ok := lambdacontext.FromContext(ctx); ok {
			d.request = invocation.AwsRequestID
		}
		return handle(ctx, d, log, event)
	}, lambda.WithEnableSIGTERM(func() {
		if err := release(); err != nil {
			log.Error("release at the end", "error", err.Error())
		}
		os.Exit(0)
	}))
}

// handle does what one event asks for. The answer may hold a secret and is not
// logged, nor is the event.
func handle(ctx context.Context, d desk, log *slog.Logger, event json.RawMessage) (any, error) {
	line, err := parseEvent(event)
	if err != nil {
		log.WarnContext(ctx, "the event is refused", "request_id", d.request, "error", err.Error())
		return nil, err
	}
	what, err := selected(line).do(ctx, d)
	if err != nil {
		err = explain(err)
		log.ErrorContext(ctx, "the command failed", "command", line.Command(), "request_id", d.request, "error", err.Error())
		return nil, err
	}
	log.InfoContext(ctx, "done", "command", line.Command(), "request_id", d.request)
	return what, nil
}
