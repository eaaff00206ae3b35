package conformance

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	_ "github.com/lib/pq"
	"go.uber.org/goleak"

	"github.com/wafleet/wafleet/shared/pgtest"
	"github.com/wafleet/wafleet/shared/schema"
)

// Programs, built once per test process. The API's is the listener and the
// Lambda at once.
var apiBinary, connectorBinary string

func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Wrap(built{m})) }

// built runs the tests with the programs in place.
type built struct{ m *testing.M }

func (b built) Run() int {
	dir, err := os.MkdirTemp("", "wafleet-conformance-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	apiBinary, connectorBinary = filepath.Join(dir, "api"), filepath.Join(dir, "connector")
	args := append([]string{"build", "-o", dir}, raceFlag...)
	build := exec.Command("go", append(args, "github.com/wafleet/wafleet/connector", "github.com/wafleet/wafleet/functions/api")...)
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the programs: %v\n%s", err, out)
		return 1
	}
	return b.m.Run()
}

func migrate(ctx context.Context, url string) error { return schema.Migrate(ctx, url, nil) }
