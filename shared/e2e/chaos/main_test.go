package chaos

import (
	"testing"

	_ "github.com/lib/pq"
	"go.uber.org/goleak"

	"github.com/wafleet/wafleet/shared/e2e/bootstrap"
	"github.com/wafleet/wafleet/shared/e2e/link"
)

// binaries is where the system's programs are, built once per test process.
var binaries string

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(bootstrap.With(m, &binaries, "connector", "functions/api", "functions/sweep"), link.Leftovers...)
}
