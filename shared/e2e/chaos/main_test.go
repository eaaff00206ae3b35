package chaos

import (
	"testing"

	_ "github.com/lib/pq"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/wafleet/wafleet/shared/e2e/bootstrap"
)

// binaries is where the system's programs are, built once per test process.
var binaries string

// toxiproxy leaves these of some links whose toxic is removed while data comes
// in: what is before the toxic waits for a reader for ever.
var leftByToxiproxy = []goleak.Option{
	goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2/toxics.(*ToxicStub).Run"),
	goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2.(*ToxicLink).read"),
}

func TestMain(m *testing.M) {
	zerolog.SetGlobalLevel(zerolog.Disabled) // toxiproxy's toxics have a logger of their own
	goleak.VerifyTestMain(bootstrap.With(m, &binaries, "connector", "functions/api", "functions/sweep"), leftByToxiproxy...)
}
