package chaos

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	_ "github.com/lib/pq"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/wafleet/wafleet/shared/pgtest"
	"github.com/wafleet/wafleet/shared/schema"
)

// connectorBinary is built once per test process.
var connectorBinary string

func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Wrap(built{m})) }

// built runs the tests with the connector's binary in place.
type built struct{ m *testing.M }

func (b built) Run() int {
	zerolog.SetGlobalLevel(zerolog.Disabled) // toxiproxy's toxics have a logger of their own
	dir, err := os.MkdirTemp("", "wafleet-chaos-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	connectorBinary = filepath.Join(dir, "connector")
	args := append([]string{"build", "-o", connectorBinary}, raceFlag...)
	build := exec.Command("go", append(args, "github.com/wafleet/wafleet/connector")...)
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the connector: %v\n%s", err, out)
		return 1
	}
	return b.m.Run()
}

func migrate(ctx context.Context, url string) error { return schema.Migrate(ctx, url, nil) }
