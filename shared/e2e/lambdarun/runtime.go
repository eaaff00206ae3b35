package lambdarun

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// initTimeout is Lambda's own limit for a program to ask for its first event.
	initTimeout = 10 * time.Second
	// stopTimeout is how long after SIGTERM Lambda kills a process that only has
	// internal extensions.
	stopTimeout = 500 * time.Millisecond
	// closeTimeout bounds the end of the harness's own server.
	closeTimeout = 2 * time.Second
)

// Config says what to run.
type Config struct {
	Bootstrap string        // path of the program
	Env       []string      // NAME=value, added to what Lambda sets; nothing is inherited
	Log       io.Writer     // takes the program's output; discarded where nil
	Timeout   time.Duration // of one invocation, as configured for the function; 30 s where zero
}

// Runtime is one running program. Make it with [Start].
type Runtime struct {
	config  Config
	process *exec.Cmd
	server  *http.Server
	api     *api

	exited  chan struct{} // closed when the process has ended
	exit    error         // read after exited
	serving sync.WaitGroup

	coldStart time.Duration
}

// Start runs the program until it asks for its first event. An error says that
// it did not: what it reported, or how it ended.
func Start(ctx context.Context, config Config) (*Runtime, error) {
	if config.Timeout == 0 {
		config.Timeout = 30 * time.Second
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for the runtime API: %w", err)
	}
	r := &Runtime{config: config, api: newAPI(config.Timeout), exited: make(chan struct{})}
	r.server = &http.Server{Handler: r.api.routes(), ReadHeaderTimeout: time.Minute}
	r.serving.Go(func() { _ = r.server.Serve(listener) })
	if err := r.launch(listener.Addr().String()); err != nil {
		return nil, errors.Join(err, r.closeServer())
	}
	if err := r.awaitReady(ctx); err != nil {
		return nil, errors.Join(err, r.Stop())
	}
	return r, nil
}

func (r *Runtime) launch(address string) error {
	r.process = exec.Command(r.config.Bootstrap) // #nosec G204 -- running the program of its caller is what it is for
	r.process.Env = append([]string{
		"AWS_LAMBDA_RUNTIME_API=" + address,
		"AWS_LAMBDA_FUNCTION_NAME=local",
		"AWS_LAMBDA_FUNCTION_VERSION=$LATEST",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE=256",
		"AWS_LAMBDA_INITIALIZATION_TYPE=on-demand",
		"AWS_REGION=us-east-1",
		"LAMBDA_TASK_ROOT=" + os.TempDir(),
		"TZ=:UTC",
		"PATH=" + os.Getenv("PATH"),
	}, r.config.Env...)
	r.process.Stdout, r.process.Stderr = r.config.Log, r.config.Log
	r.api.markStarted()
	if err := r.process.Start(); err != nil {
		return fmt.Errorf("start the program: %w", err)
	}
	go func() {
		r.exit = r.process.Wait()
		close(r.exited)
	}()
	return nil
}

func (r *Runtime) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, initTimeout)
	defer cancel()
	select {
	case r.coldStart = <-r.api.ready:
		return nil
	case failure := <-r.api.initFailed:
		return fmt.Errorf("the program failed to start: %s", failure)
	case <-r.exited:
		return fmt.Errorf("the program ended before its first event: %w", ended(r.exit))
	case <-ctx.Done():
		return fmt.Errorf("the program did not ask for an event: %w", ctx.Err())
	}
}

// ColdStart is the time from the start of the process to its asking for the
// first event.
func (r *Runtime) ColdStart() time.Duration { return r.coldStart }

// Age is the time since the start of the process.
func (r *Runtime) Age() time.Duration { return r.api.age() }

// PeakMemory is the most that the process has had in memory at once, in bytes
// (VmHWM). It knows Linux only.
func (r *Runtime) PeakMemory() (bytes int64, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.PID()))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		var kilobytes int64
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kilobytes); n == 1 {
			return kilobytes << 10, nil
		}
	}
	return 0, errors.New("the system does not say how much memory a process has had")
}

// PID is the process's id.
func (r *Runtime) PID() int { return r.process.Process.Pid }

// Answer is what an invocation came to: a payload, or a failure.
type Answer struct {
	Payload json.RawMessage
	Failure json.RawMessage // {"errorMessage","errorType",...}; nil where it succeeded
	Took    time.Duration
}

// Invoke delivers one event and waits for the outcome. An error says that there
// was none: the process ended, or ran into the function's timeout.
func (r *Runtime) Invoke(ctx context.Context, event []byte) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, r.config.Timeout)
	defer cancel()
	in := &invocation{event: event, done: make(chan Answer, 1)}
	select {
	case r.api.events <- in:
	case <-r.exited:
		return Answer{}, fmt.Errorf("the program has ended: %w", ended(r.exit))
	case <-ctx.Done():
		return Answer{}, fmt.Errorf("the program did not take the event: %w", ctx.Err())
	}
	select {
	case answer := <-in.done:
		return answer, nil
	case <-r.exited:
		return Answer{}, fmt.Errorf("the program ended during the event: %w", ended(r.exit))
	case <-ctx.Done():
		return Answer{}, fmt.Errorf("the program did not answer: %w", ctx.Err())
	}
}

// Stop ends the process as Lambda does, with SIGTERM and soon after SIGKILL,
// and the server with it. It reports a process that had ended by itself or that
// did not end on SIGTERM.
func (r *Runtime) Stop() error {
	return errors.Join(r.endProcess(), r.closeServer())
}

func (r *Runtime) endProcess() error {
	select {
	case <-r.exited:
		return fmt.Errorf("the program had ended before it was stopped: %w", ended(r.exit))
	default:
	}
	if !r.api.wantsSIGTERM() {
		return r.kill()
	}
	if err := r.process.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return errors.Join(err, r.kill())
	}
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-r.exited:
		return r.exit
	case <-timer.C:
		return errors.Join(fmt.Errorf("the program did not end within %s of SIGTERM", stopTimeout), r.kill())
	}
}

func (r *Runtime) kill() error {
	err := r.process.Process.Kill()
	<-r.exited
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

func (r *Runtime) closeServer() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	err := r.server.Shutdown(ctx)
	r.serving.Wait()
	return err
}

// ended makes an error of a clean exit too: nothing has ended cleanly that was
// still wanted.
func ended(exit error) error {
	if exit == nil {
		return errors.New("exit status 0")
	}
	return exit
}
