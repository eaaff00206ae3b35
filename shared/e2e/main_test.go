package e2e

import (
	"context"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/wafleet/wafleet/shared/e2e/bootstrap"
	"github.com/wafleet/wafleet/shared/e2e/link"
	"github.com/wafleet/wafleet/shared/pgtest"
	"github.com/wafleet/wafleet/shared/schema"
)

// binaries is where the programs are, built once per test process.
var binaries string

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(pgtest.Wrap(bootstrap.Plain(m, &binaries, "connector", "connector/guard", "shared/e2e/bare")), link.Leftovers...)
}

func binaryOf(name string) string { return filepath.Join(binaries, name) }

func migrate(ctx context.Context, url string) error { return schema.Migrate(ctx, url, nil) }
