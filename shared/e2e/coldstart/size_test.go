package coldstart

import (
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/wafleet/wafleet/shared/e2e/bootstrap"
	"github.com/wafleet/wafleet/shared/e2e/lambdarun"
	"github.com/wafleet/wafleet/shared/pgtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Wrap(m)) }

const (
	maxSize = 15 << 20 // bytes, of the deployed program
	// maxInit is aimed at by make bench-lambda, where nothing else runs.
	maxInit = 60 // ms
)

// nowhere is a database that nobody listens for.
const nowhere = "DATABASE_URL=postgres://u:p@127.0.0.1:1/x?sslmode=disable"

// names are those of every function: a directory of functions that has a file
// for Lambda.
func names(t testing.TB) (list []string) {
	t.Helper()
	files, err := filepath.Glob("../../../functions/*/lambda.go")
	if err != nil || len(files) < 3 {
		t.Fatalf("files %v, error %v", files, err)
	}
	for _, file := range files {
		list = append(list, filepath.Base(filepath.Dir(file)))
	}
	return list
}

func build(t testing.TB, name, architecture string) (path string, size int64) {
	t.Helper()
	path, err := bootstrap.Function(t.TempDir(), name, architecture)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, info.Size()
}

func TestWhatIsDeployedIsSmall(t *testing.T) {
	t.Parallel()
	for _, name := range names(t) {
		if _, size := build(t, name, "arm64"); size > maxSize {
			t.Errorf("%s has %d bytes, more than %d", name, size, maxSize)
		}
	}
}

// TestItStartsWithoutADatabase: a process that waits for the database in its
// init would fail with it, and Lambda would start it again and again.
func TestItStartsWithoutADatabase(t *testing.T) {
	t.Parallel()
	for _, name := range names(t) {
		program, _ := build(t, name, architecture())
		log := &bootstrap.Output{}
		runtime, err := lambdarun.Start(t.Context(), lambdarun.Config{Bootstrap: program, Log: log, Env: []string{nowhere}})
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, log)
			continue
		}
		if err := runtime.Stop(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, log)
		}
	}
}
