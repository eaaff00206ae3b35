package release

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/wafleet/wafleet/shared/pgtest"
)

func TestMain(m *testing.M) {
	becomeContainer() // does not return in a process that is one
	goleak.VerifyTestMain(pgtest.Wrap(workshopped{m}))
}

// workshopped runs the tests with a directory for what they build once.
type workshopped struct{ m *testing.M }

func (w workshopped) Run() int {
	var err error
	if workshop, err = os.MkdirTemp("", "wafleet-release-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(workshop)
	// Another user than root runs the programs in it.
	if err := os.Chmod(workshop, 0o755); err != nil { // #nosec G302 -- no secret is in it
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return w.m.Run()
}
