package chaos

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	_ "github.com/lib/pq"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

// binaries is where the system's programs are, built once per test process.
var binaries string

// toxiproxy leaves these of some links whose toxic is removed while data comes
// in: what is before the toxic waits for a reader for ever.
var leftByToxiproxy = []goleak.Option{
	goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2/toxics.(*ToxicStub).Run"),
	goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2.(*ToxicLink).read"),
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(built{m}, leftByToxiproxy...) }

// built runs the tests with the programs in place.
type built struct{ m *testing.M }

func (b built) Run() int {
	zerolog.SetGlobalLevel(zerolog.Disabled) // toxiproxy's toxics have a logger of their own
	dir, err := os.MkdirTemp("", "wafleet-chaos-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binaries = dir
	args := append([]string{"build", "-o", dir + string(filepath.Separator)}, raceFlag...)
	for _, program := range []string{"connector", "functions/api", "functions/sweep"} {
		args = append(args, "github.com/wafleet/wafleet/"+program)
	}
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the programs: %v\n%s", err, out)
		return 1
	}
	return b.m.Run()
}
