// Package coldstart holds what the Lambda programs cost: the size of what is
// deployed, the time from the start of a process to its first answer, and what
// it takes once it is warm. It has no code but tests and a benchmark, which
// "make bench-lambda" prints as a table:
//
//	cold init      from the start of the process until it asks for an event
//	first answer   from the start of the process until it has answered one
//	warm           an event, from its delivery to its answer
//	memory         the most that the process has had in memory
//	arm64          the program that a release deploys
//
// Lambda reads the program from a disk that is not this machine's, and gives it
// a share of a processor by its memory: init there is longer by what both take.
package coldstart
