package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/wafleet/wafleet/shared/pgtest"
	"github.com/wafleet/wafleet/shared/schema"
)

func migrate(ctx context.Context, url string) error { return schema.Migrate(ctx, url, nil) }

// patience bounds every wait for something that must happen.
const patience = 20 * time.Second

// envRole makes the test binary a connector below a guard: what to do, and as
// whom. envLabel is the session on whose behalf it does it.
const (
	envRole  = "WAFLEET_GUARD_TEST_ROLE"
	envLabel = "WAFLEET_GUARD_TEST_SESSION"
)

func TestMain(m *testing.M) {
	role, id, _ := strings.Cut(os.Getenv(envRole), ":")
	if role == "" {
		goleak.VerifyTestMain(pgtest.Wrap(m))
		return
	}
	// The numbers that the guard promises.
	if os.Getenv("GUARD_LEASE_FD") != "3" || os.Getenv("GUARD_CRASH_FD") != "4" {
		fmt.Fprintln(os.Stderr, "no guard")
		os.Exit(90)
	}
	if err := debug.SetCrashOutput(os.NewFile(4, "crash"), debug.CrashOptions{}); err != nil {
		panic(err)
	}
	leases := os.NewFile(3, "leases")
	if id != "" {
		fmt.Fprintln(leases, id)
	}
	play(role, leases)
}

// childOf is this binary in a role.
func childOf(role string, env ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), envRole+"="+role), env...)
	return cmd
}

// play is what the child does. Each kind of crash happens in a goroutine that a
// labelled one has started.
func play(role string, leases *os.File) {
	switch role {
	case "leaves": // a drain that has ended its own lease
		fmt.Fprintln(leases)
		os.Exit(0)
	case "relets": // lost a lease and took another
		fmt.Fprintln(leases, "second")
		os.Exit(3)
	case "obeys", "ignores":
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
		fmt.Println("ready", os.Getpid())
		for s := range signals {
			if fmt.Println("got", s); role == "obeys" {
				os.Exit(5)
			}
		}
	case "killed":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	labels := pprof.Labels("session", os.Getenv(envLabel))
	if os.Getenv(envLabel) == "" {
		labels = pprof.Labels("other", "label")
	}
	pprof.Do(context.Background(), labels, func(context.Context) { go crashes[role]() })
	time.Sleep(patience) // the crash ends it
}

var crashes = map[string]func(){
	"panic":     func() { panic("of 5511999990001") },
	"error":     func() { panic(errors.New("an error")) },
	"forgery":   func() { panic("x\n\ngoroutine 1 [running labels:{\"session\": \"" + other + "\"}]:\nmain.main()\n") },
	"again":     func() { defer func() { panic(fmt.Sprint("again: ", recover())) }(); panic("once") },
	"nil":       func() { var p *[3]int; fmt.Println(p[len(os.Args)]) },
	"locked":    func() { runtime.LockOSThread(); panic("locked to its thread") },
	"long":      func() { panic(strings.Repeat("long ", maxReport)) },
	"unlock":    func() { new(sync.Mutex).Unlock() },
	"recursion": func() { debug.SetMaxStack(1 << 20); fmt.Println(recurse(0)) },
	"map": func() {
		shared := map[int]int{}
		for range 8 {
			go func() {
				for {
					shared[1]++
				}
			}()
		}
	},
	"fault": func() { // beyond the end of a file
		file, err := os.CreateTemp("", "wafleet-guard-")
		if err != nil {
			os.Exit(91)
		}
		_ = os.Remove(file.Name())
		page, err := syscall.Mmap(int(file.Fd()), 0, 4096, syscall.PROT_READ, syscall.MAP_SHARED)
		if err != nil {
			os.Exit(91)
		}
		fmt.Println(page[0])
	},
	"memory": func() {
		limit := syscall.Rlimit{Cur: 1 << 20, Max: 1 << 20}
		if syscall.Setrlimit(syscall.RLIMIT_AS, &limit) != nil {
			os.Exit(91)
		}
		for kept := [][]byte{}; ; {
			kept = append(kept, make([]byte, 32<<20))
		}
	},
	"quit": func() { spin(syscall.SIGQUIT) },
	"segv": func() { spin(syscall.SIGSEGV) },
}

// other is a session that has nothing to do with any crash.
const other = "019a0000-0000-7000-8000-00000000000f"

// recurse ends with the stack.
func recurse(n int) int {
	if n < 0 {
		return 0
	}
	return recurse(n+1) + 1
}

func spin(sig syscall.Signal) {
	_ = syscall.Kill(os.Getpid(), sig)
	for {
		runtime.Gosched()
	}
}
