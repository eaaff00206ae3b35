// Command wafleet is how an operator makes tenants, gives them API keys and
// quotas, and reads what was done with them. No API key can do this for another
// tenant than its own, and none can make the first key.
//
//	DATABASE_URL=postgres://... wafleet create-tenant --tenant acme
//	DATABASE_URL=postgres://... wafleet create-key --tenant acme --scope admin
//	wafleet --help
//
// It prints tables for people, or one JSON object with --json. The secret of a
// key is printed once, alone on stdout; everything about it goes to stderr, so
// that KEY=$(wafleet create-key ...) holds just the key. Exit codes: 0 done,
// 1 failed, 2 wrong use.
//
// Under AWS Lambda the same commands are events, with the flags as fields, and
// the answer is the same JSON object:
//
//	{"command": "create-key", "tenant": "acme", "scope": "session", "session": "my-session", "expires-in": "720h"}
//
// Field names may be in camel case too. Who may invoke the function may do
// everything: give that right to people, not to programs. The answer carries
// the secret; no log does.
//
// commands.go is the one table of commands; event.go turns an event into the
// command line that means the same, so that both are read, checked and refused
// by the same code. answers.go says what comes back, main.go wires, and
// lambda.go is the only file that knows the Lambda runtime. A build for Lambda:
//
//	CGO_ENABLED=0 GOOS=linux GOARCH=arm64 go build -tags lambda.norpc -trimpath -ldflags='-s -w' -o bootstrap ./functions/admin
//
// The files in events fit "sam local invoke -e" as well as shared/e2e/lambdarun.
package main
