// Command migrate brings the database to the schema of this version.
//
//	DATABASE_URL=postgres://... migrate
//
// It has no flags but -print-config (a flag would show a password in the process
// list), prints each step, and does nothing where the schema is up to date.
// Migrations go forward only; old and new versions of the other programs may run
// while it works. Exit codes: 0 done, 1 failed, 2 wrong use.
//
// With DATABASE_APP_USER it also makes the role that the other programs log in as,
// and gives the tables to it; see package schema.
//
// Under AWS Lambda it is a custom resource of CloudFormation: a stack has it run
// before the new code takes traffic. Create and Update migrate, Delete touches
// nothing; the answer is SUCCESS with SchemaVersion in its data, or FAILED with a
// reason, and comes before the function's own timeout does. CloudFormation and
// Lambda deliver again what they are in doubt about, which is harmless: the second
// time there is nothing to do. Invoked by hand with {} or {"command":"migrate"} it
// migrates and returns what it did.
//
// main.go is the command, migrate.go the work, event.go sorts what Lambda delivers,
// and lambda.go is the only file that knows the Lambda runtime. The files in events
// fit "sam local invoke -e" as well as shared/e2e/lambdarun. A build for Lambda:
//
//	CGO_ENABLED=0 GOOS=linux GOARCH=arm64 go build -tags lambda.norpc -trimpath -ldflags='-s -w' -o bootstrap ./functions/migrate
package main
