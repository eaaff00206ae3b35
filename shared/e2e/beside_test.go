package e2e

import (
	"sync"
	"testing"
)

// beside runs a test for each case, all at once and in the place of one parallel
// test: they wait for leases and pauses to pass, which takes no processor.
func beside[C any](t *testing.T, cases map[string]C, test func(*testing.T, C)) {
	t.Helper()
	var running sync.WaitGroup
	for name, one := range cases {
		running.Go(func() { t.Run(name, func(t *testing.T) { test(t, one) }) })
	}
	running.Wait()
}
