// Command api serves the HTTP API of wafleet, in one of two ways:
//
//	api                        under AWS Lambda, behind an API Gateway HTTP API
//	api -listen 127.0.0.1:8080 as a server of its own, until SIGTERM or SIGINT
//
// Both serve the same [net/http.Handler]. Everything else comes from the
// environment, see [config].
//
// main.go wires, config.go reads the environment, listen.go is the server,
// lambda.go is the only file that knows the Lambda runtime and its proxy, and
// event.go sorts what Lambda delivers before the proxy sees it.
//
// A build for Lambda:
//
//	CGO_ENABLED=0 GOOS=linux GOARCH=arm64 go build -tags lambda.norpc -trimpath -ldflags='-s -w' -o bootstrap ./functions/api
//
// The files in events are what the gateway and a schedule send. They fit
// "sam local invoke -e" as well as shared/e2e/lambdarun; their key is
// "wafleet-example-key", and panic.json needs a build with the tag harness.
package main
