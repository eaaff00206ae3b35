// Package lambdarun runs a Lambda program outside AWS: the built "bootstrap"
// against a harness of the Lambda runtime API, one event at a time.
//
// The far side of the wire is imitated, not the program: the process is the one
// that would be deployed, started with the environment that Lambda gives it.
// The harness serves what such a process calls:
//
//	GET  /2018-06-01/runtime/invocation/next            the next event, or a wait for one
//	POST /2018-06-01/runtime/invocation/{id}/response   its answer
//	POST /2018-06-01/runtime/invocation/{id}/error      its failure
//	POST /2018-06-01/runtime/init/error                 it could not start
//	POST /2020-01-01/extension/register                 asks for SIGTERM before the end
//	GET  /2020-01-01/extension/event/next               waits for good
//
// as documented in the AWS Lambda developer guide, "Using the Lambda runtime
// API" and "Extensions API". Not imitated: memory and CPU limits, freezing
// between events, response streaming, size limits.
//
// [Start] starts the process and its server and [Runtime.Stop] ends both; the
// caller owns them. Invoke may be called from several goroutines; events are
// delivered one after the other, as Lambda does.
//
// [Gateway] puts an HTTP API of API Gateway in front: HTTP in, HTTP out, over
// programs that its caller has started or as many as the requests need.
package lambdarun
