package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/wafleet/wafleet/shared/pgtest"
	"github.com/wafleet/wafleet/shared/schema"
)

// Programs, built once per test process.
var connectorBinary, guardBinary string

func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Wrap(built{m})) }

// built runs the tests with the connector's and its guard's binaries in place.
type built struct{ m *testing.M }

func (b built) Run() int {
	dir, err := os.MkdirTemp("", "wafleet-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	connectorBinary, guardBinary = filepath.Join(dir, "connector"), filepath.Join(dir, "guard")
	args := append([]string{"build", "-o", dir}, raceFlag...)
	build := exec.Command("go", append(args, "github.com/wafleet/wafleet/connector", "github.com/wafleet/wafleet/connector/guard")...)
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the programs: %v\n%s", err, out)
		return 1
	}
	return b.m.Run()
}

func migrate(ctx context.Context, url string) error { return schema.Migrate(ctx, url, nil) }
