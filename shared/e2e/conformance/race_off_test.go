//go:build !race

package conformance

var raceFlag []string
