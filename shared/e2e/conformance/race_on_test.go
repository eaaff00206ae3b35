//go:build race

package conformance

// raceFlag builds the programs as the tests are built.
var raceFlag = []string{"-race"}
