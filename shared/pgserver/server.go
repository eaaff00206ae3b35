package pgserver

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	_ "github.com/lib/pq" // the driver that readiness is proved with

	"github.com/wafleet/wafleet/shared/child"
)

const (
	// readyTimeout bounds the time from the child's start to its first answer, crash recovery included.
	readyTimeout = 30 * time.Second
	// readyPoll is the pause between two attempts to connect; a refused connection on the loopback costs microseconds.
	readyPoll = 20 * time.Millisecond
	// portAttempts is how often a free port may be lost to another process between its choice and its use.
	portAttempts = 3
)

// Server is a running Postgres. All methods are safe for concurrent use.
type Server struct {
	bin      binaries
	port     int
	password string
	process  *process
	data     *dataDir
	temp     string // directory to remove at the end, if any

	once  sync.Once
	ended error // set by once
}

// Start runs a server and returns when it answers. It may take minutes the first time, when binaries are downloaded;
// otherwise about a second for a new data directory and a few hundred milliseconds for an old one. ctx bounds Start only,
// not the server's life. Errors: ErrNoPostgres, ErrVersion, ErrInUse, and failures whose text ends with the server's log.
func Start(ctx context.Context, cfg Config) (_ *Server, err error) {
	cfg, err = cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("postgres server configuration: %w", err)
	}
	s := &Server{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.release())
		}
	}()
	if cfg.DataDir == "" {
		sweepTemp(ctx, cfg.Log)
		if s.temp, err = makeTemp(childAccount()); err != nil {
			return nil, fmt.Errorf("temporary data directory: %w", err)
		}
		cfg.DataDir = tempData(s.temp)
	}
	if s.data, err = openDataDir(cfg.DataDir); err != nil {
		return nil, err
	}
	if err := stopLeftover(ctx, s.data.real, cfg.Log); err != nil {
		return nil, err
	}
	cacheDir := reachableCache(s.data.account, cfg.CacheDir)
	if s.bin, err = newResolver(cacheDir, s.data.account, cfg.Log).resolve(ctx, s.data.version); err != nil {
		return nil, err
	}
	if s.password, err = s.data.prepare(ctx, s.bin, cfg.Fast); err != nil {
		return nil, err
	}
	if err := s.run(ctx, cfg); err != nil {
		return nil, err
	}
	cfg.Log.Info("Postgres is ready", "port", s.port, "data", s.data.real)
	return s, nil
}

// run starts the child and waits for its first answer.
func (s *Server) run(ctx context.Context, cfg Config) error {
	if cfg.Port != 0 {
		s.port = cfg.Port
		return s.runOnce(ctx, cfg)
	}
	return onFreePort(ctx, func(port int) error {
		s.port = port
		return s.runOnce(ctx, cfg)
	})
}

// onFreePort calls start with a free port, and again with another where that one was taken meanwhile.
func onFreePort(ctx context.Context, start func(port int) error) error {
	for attempt := 1; ; attempt++ {
		port, err := freePort()
		if err != nil {
			return err
		}
		if err := start(port); err == nil || attempt == portAttempts || ctx.Err() != nil || portIsFree(port) {
			return err
		}
	}
}

func (s *Server) runOnce(ctx context.Context, cfg Config) error {
	out := &logTail{log: cfg.Log}
	p, err := startProcess(s.data.account, s.bin, s.serverArgs(cfg), out)
	if err != nil {
		return err
	}
	if err := awaitReady(ctx, "postgres", s.URL("postgres"), p.Process); err != nil {
		// Whatever the way it ends, the reason is the error at hand.
		_ = p.stop(context.WithoutCancel(ctx))
		return fmt.Errorf("%w%s", err, out.quote())
	}
	s.process = p
	return nil
}

func (s *Server) serverArgs(cfg Config) []string {
	args := []string{"-D", s.data.real, "-p", strconv.Itoa(s.port)}
	set := func(settings ...string) {
		for _, setting := range settings {
			args = append(args, "-c", setting)
		}
	}
	set("listen_addresses=127.0.0.1", "unix_socket_directories=", "timezone=UTC", "log_timezone=UTC",
		"logging_collector=off", "max_connections="+strconv.Itoa(cfg.MaxConnections))
	if cfg.Fast {
		set("fsync=off", "synchronous_commit=off", "full_page_writes=off")
	}
	return args
}

// awaitReady connects until a query is answered. program is what the errors call it.
func awaitReady(ctx context.Context, program, url string, p *child.Process) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	db, err := sql.Open("postgres", url)
	if err != nil {
		return err
	}
	defer db.Close()
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for {
		pingErr := db.PingContext(ctx)
		if pingErr == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-p.Gone():
			return fmt.Errorf("%s ended while starting: %w", program, exitReason(p.Err()))
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w (last attempt: %w)", program, context.Cause(ctx), pingErr)
		}
	}
}

func exitReason(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

// Stop shuts the server down: open transactions roll back, connections close, data is flushed. When ctx ends first, or
// after 20 s, the server is ended with less patience; Stop always returns with the child gone. Further calls
// return the first one's result.
func (s *Server) Stop(ctx context.Context) error {
	return s.end(func() error { return s.process.stop(ctx) })
}

// Crash ends the server as its own crash would: connections break, nothing is flushed, and the next Start on the same
// Config.DataDir recovers from the write-ahead log. What was committed with synchronous_commit=off, as Config.Fast has it, may
// be lost. It is for tests of what must survive that; it returns with the child gone, and counts as the call of Stop.
func (s *Server) Crash() error { return s.end(s.process.crash) }

// end makes later and concurrent calls wait for the first one and share its result.
func (s *Server) end(child func() error) error {
	s.once.Do(func() { s.ended = errors.Join(child(), s.release()) })
	return s.ended
}

// release gives up what is held besides the child. Temporary data goes before its lock.
func (s *Server) release() error {
	var errs []error
	if s.temp != "" {
		errs = append(errs, os.RemoveAll(s.temp))
	}
	if s.data != nil {
		errs = append(errs, s.data.close())
	}
	return errors.Join(errs...)
}

// Source says in one line which binaries are used.
func (s *Server) Source() string { return s.bin.String() }

// Done is closed when the server has ended, by Stop or by itself.
func (s *Server) Done() <-chan struct{} { return s.process.Gone() }

func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	return listener.Addr().(*net.TCPAddr).Port, listener.Close()
}

func portIsFree(port int) bool {
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	_ = listener.Close()
	return true
}
