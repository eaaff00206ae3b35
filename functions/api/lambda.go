package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
	"github.com/awslabs/aws-lambda-go-api-proxy/httpadapter"
)

// serveLambda serves events until Lambda ends the process. It announces that
// with SIGTERM, never during an event: then release runs and the process exits,
// so that the database does not have to find out about its connections.
func serveLambda(d dispatcher, release func() error) {
	proxy := httpadapter.NewV2(d.handler)
	lambda.StartWithOptions(func(ctx context.Context, event json.RawMessage) (any, error) {
		switch kindOf(event) {
		case kindRequest:
			return proxyRequest(ctx, proxy, event)
		case kindSchedule:
			return d.keepWarm(ctx), nil
		}
		return nil, errUnknownEvent
	}, lambda.WithEnableSIGTERM(func() {
		if err := release(); err != nil {
			d.log.Error("release at the end", "error", err.Error())
		}
		os.Exit(0)
	}))
}

// proxyRequest hands a request to the handler. The gateway's own request id
// becomes the request's, unless the caller sent one.
func proxyRequest(ctx context.Context, proxy *httpadapter.HandlerAdapterV2, event json.RawMessage) (any, error) {
	var request events.APIGatewayV2HTTPRequest
	if err := json.Unmarshal(event, &request); err != nil {
		return nil, fmt.Errorf("decode the request event: %w", err)
	}
	request.RawPath = parsablePath(request.RawPath)
	request.RawQueryString = parsableQuery(request.RawQueryString)
	if request.Headers == nil {
		request.Headers = map[string]string{}
	}
	if request.Headers["x-request-id"] == "" { // the gateway sends names in lower case
		request.Headers["x-request-id"] = request.RequestContext.RequestID
	}
	return proxy.ProxyWithContext(ctx, request)
}
