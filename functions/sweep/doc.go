// Command sweep finds sessions that should be running and that no live connector
// holds, gives them start jobs, and counts the fleet. Connectors do the first
// themselves; sweep is the backstop for when none lives, and the one publisher
// of the fleet's metrics.
//
// It also forgets entries of the audit that are older than AUDIT_KEEP, at most
// 20,000 a sweep.
//
//	sweep              one sweep; prints what it found as JSON
//	sweep -every 30s   one after the other until SIGTERM or SIGINT
//
// Under AWS Lambda it answers two EventBridge events with the same JSON:
//
//   - a schedule's: one sweep. It also writes the counts in CloudWatch's embedded
//     metric format, see metrics.go.
//   - "ECS Task State Change" with lastStatus STOPPED: a known death. It ends the
//     lease of the connector of that task at once and sweeps, so that others
//     claim its sessions without waiting for the lease to pass. A task that is
//     only stopping still drains its sessions and is left alone.
//
// Every event may come twice, late or in any order: a task runs once, so its
// death stays true, and a session gets one start job however often it is found.
// A task that ECS gave up although it still runs, as after the forced
// deregistration of an EC2 instance, finds its lease ended at the next beat and
// ends its sessions; until then their epochs keep its writes out.
//
// main.go wires, config.go reads the environment, sweep.go is the work, event.go
// sorts what Lambda delivers, and lambda.go is the only file that knows the
// Lambda runtime. A build for Lambda:
//
//	CGO_ENABLED=0 GOOS=linux GOARCH=arm64 go build -tags lambda.norpc -trimpath -ldflags='-s -w' -o bootstrap ./functions/sweep
//
// The files in events are what EventBridge sends. They fit "sam local invoke -e"
// as well as shared/e2e/lambdarun.
package main
