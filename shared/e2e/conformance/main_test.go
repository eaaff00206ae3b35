package conformance

import (
	"context"
	"path/filepath"
	"testing"

	_ "github.com/lib/pq"
	"go.uber.org/goleak"

	"github.com/wafleet/wafleet/shared/e2e/bootstrap"
	"github.com/wafleet/wafleet/shared/e2e/link"
	"github.com/wafleet/wafleet/shared/pgtest"
	"github.com/wafleet/wafleet/shared/schema"
)

// binaries is where the programs are, built once per test process. The API's is
// the listener and the Lambda at once. The tests of package e2e look for races in
// them.
var binaries string

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(pgtest.Wrap(bootstrap.Plain(m, &binaries, "connector", "functions/api")), link.Leftovers...)
}

func program(name string) string { return filepath.Join(binaries, name) }

func migrate(ctx context.Context, url string) error { return schema.Migrate(ctx, url, nil) }
