//go:build race

package chaos

// raceFlag builds the programs as the tests are built.
var raceFlag = []string{"-race"}
