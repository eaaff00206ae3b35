package child

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

// envRole makes the test binary a child, or a parent with a child.
const envRole = "WAFLEET_CHILD_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(envRole) {
	case "":
		goleak.VerifyTestMain(m)
	case "dies":
		fmt.Println("dying")
		os.Exit(3)
	case "obeys":
		terms := catchTerm()
		fmt.Println("ready", os.Getpid())
		<-terms
		fmt.Print("bye") // without an end of line
	case "stubborn":
		terms := catchTerm()
		fmt.Println("ready", os.Getpid())
		for range terms {
		}
	case "parent":
		_ = Keep(context.Background(), context.Background(), Program{
			Path: os.Args[0], Env: role("stubborn"), Line: func(line string) { fmt.Println(line) },
		})
	}
}

func catchTerm() <-chan os.Signal {
	terms := make(chan os.Signal, 1)
	signal.Notify(terms, syscall.SIGTERM)
	return terms
}

func role(name string) []string { return append(os.Environ(), envRole+"="+name) }
