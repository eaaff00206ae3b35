package main

import (
	"context"
	"encoding/json"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
)

// serveLambda serves events until Lambda ends the process. It announces that
// with SIGTERM, never during an event: then release runs and the process exits,
// so that the database does not have to find out about its connections.
func serveLambda(d dispatcher, release func() error) {
	lambda.StartWithOptions(func(ctx context.Context, event json.RawMessage) (any, error) {
		answer, err := d.handle(ctx, event)
		if err != nil {
			d.log.ErrorContext(ctx, "the event failed", "error", err.Error())
		}
		return answer, err
	}, lambda.WithEnableSIGTERM(func() {
		if err := release(); err != nil {
			d.log.Error("release at the end", "error", err.Error())
		}
		os.Exit(0)
	}))
}
