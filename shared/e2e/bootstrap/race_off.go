//go:build !race

package bootstrap

var raceFlag []string
