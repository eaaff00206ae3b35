package lambdarun_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	goos "runtime"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"go.uber.org/goleak"

	"github.com/wafleet/wafleet/shared/e2e/lambdarun"
)

// behave names what the test binary does when it is started as a program.
const behave = "LAMBDARUN_TEST_PROGRAM"

// quickExit takes away the second that the race detector waits at the end.
const quickExit = "GORACE=atexit_sleep_ms=0"

func TestMain(m *testing.M) {
	if how := os.Getenv(behave); how != "" {
		program(how)
		return
	}
	goleak.VerifyTestMain(m)
}

// program is a Lambda program on the real runtime library.
func program(how string) {
	switch how {
	case "exits":
		fmt.Println("cannot go on")
		os.Exit(3)
	case "sleeps":
		select {}
	case "mirrors":
		lambda.StartWithOptions(mirror, lambda.WithEnableSIGTERM(func() { os.Exit(0) }))
	case "refuses":
		lambda.Start(func(_ context.Context, event json.RawMessage) error {
			if strings.Contains(string(event), `"/exit"`) {
				os.Exit(4)
			}
			return errors.New("as asked")
		})
	}
	lambda.StartWithOptions(func(ctx context.Context, event json.RawMessage) (any, error) {
		switch string(event) {
		case `"fail"`:
			return nil, errors.New("as asked")
		case `"panic"`:
			panic("as asked")
		case `"exit"`:
			os.Exit(4)
		case `"deadline"`:
			deadline, ok := ctx.Deadline()
			return map[string]any{"set": ok, "soon": time.Until(deadline) < time.Minute}, nil
		case `"hang"`:
			<-ctx.Done()
			select {}
		}
		return event, nil
	}, lambda.WithEnableSIGTERM(func() {
		if how == "ends" {
			os.Exit(0)
		}
	}))
}

func start(t *testing.T, how string, timeout time.Duration) (*lambdarun.Runtime, error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return lambdarun.Start(t.Context(), lambdarun.Config{Bootstrap: self, Env: []string{behave + "=" + how, quickExit}, Timeout: timeout})
}

func TestEventsAreAnswered(t *testing.T) {
	t.Parallel()
	runtime, err := start(t, "ends", 0)
	if err != nil {
		t.Fatal(err)
	}
	for event, want := range map[string]string{`{"a":1}`: `{"a":1}`, `"deadline"`: `{"set":true,"soon":true}`} {
		answer, err := runtime.Invoke(t.Context(), []byte(event))
		if err != nil || string(answer.Payload) != want || answer.Failure != nil {
			t.Errorf("%s: %s %s %v", event, answer.Payload, answer.Failure, err)
		}
	}
	answer, err := runtime.Invoke(t.Context(), []byte(`"fail"`))
	if err != nil || !strings.Contains(string(answer.Failure), `"errorMessage":"as asked"`) {
		t.Errorf("failure %s, error %v", answer.Failure, err)
	}
	if runtime.ColdStart() <= 0 || runtime.Age() < runtime.ColdStart() {
		t.Errorf("cold start %v, age %v", runtime.ColdStart(), runtime.Age())
	}
	if peak, err := runtime.PeakMemory(); peak < 1<<20 && goos.GOOS == "linux" {
		t.Errorf("peak of %d bytes, error %v", peak, err)
	}
	if err := runtime.Stop(); err != nil {
		t.Error(err)
	}
}

func TestAProgramThatEndsIsReported(t *testing.T) {
	t.Parallel()
	for event, says := range map[string]string{`"exit"`: "exit status 4"} {
		runtime, err := start(t, "ends", 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := runtime.Invoke(t.Context(), []byte(event)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", event, err)
		}
		if err := runtime.Stop(); err == nil || !strings.Contains(err.Error(), "had ended") {
			t.Errorf("stop: %v", err)
		}
	}
}

func TestAPanicEndsTheProgram(t *testing.T) {
	t.Parallel()
	runtime, err := start(t, "ends", 0)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := runtime.Invoke(t.Context(), []byte(`"panic"`))
	if err != nil || !strings.Contains(string(answer.Failure), "as asked") {
		t.Errorf("failure %s, error %v", answer.Failure, err)
	}
	if _, err := runtime.Invoke(t.Context(), []byte(`1`)); err == nil {
		t.Error("the next event was answered")
	}
	if err := runtime.Stop(); err == nil {
		t.Error("stopping an ended program is no error")
	}
}

func TestAHangingEventIsGivenUp(t *testing.T) {
	t.Parallel()
	runtime, err := start(t, "ignores SIGTERM", 200*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := runtime.Invoke(t.Context(), []byte(`"hang"`)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	if err := runtime.Stop(); err == nil || !strings.Contains(err.Error(), "did not end within") {
		t.Errorf("stop: %v", err)
	}
}

func TestAProgramThatDoesNotStart(t *testing.T) {
	t.Parallel()
	if _, err := start(t, "exits", 0); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("error %v", err)
	}
	if _, err := lambdarun.Start(t.Context(), lambdarun.Config{Bootstrap: "/nowhere"}); err == nil {
		t.Error("a missing program started")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lambdarun.Start(ctx, lambdarun.Config{Bootstrap: self, Env: []string{behave + "=sleeps"}}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}
