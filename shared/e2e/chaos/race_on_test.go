//go:build race

package chaos

// raceFlag builds the connector as the tests are built.
var raceFlag = []string{"-race"}
