// Command wasim runs the WhatsApp simulator: clients connect to -listen, people and programs steer it through the HTTP
// API on -control. When it is ready it prints one line of JSON with both addresses; SIGINT and SIGTERM end it cleanly.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/wafleet/wafleet/shared/wasim"
)

// options are the flags; each has an environment variable, too.
type options struct {
	Listen  string   `default:"127.0.0.1:0" env:"WASIM_LISTEN" help:"Address for WhatsApp clients. Port 0 is the port of the last run with the same state file, else any."`
	Control string   `default:"127.0.0.1:8081" env:"WASIM_CONTROL" help:"Address of the HTTP control API. It has no authentication."`
	State   string   `env:"WASIM_STATE" type:"path" help:"JSON file that keeps devices, keys and the port; without it everything is forgotten at exit."`
	Seed    string   `env:"WASIM_SEED" help:"Any text; every key follows from it. Random if empty."`
	Host    []string `env:"WASIM_HOSTS" help:"Further host names and addresses that the TLS certificate is for."`

	QRTimeout  time.Duration `name:"qr-timeout" default:"165s" env:"WASIM_QR_TIMEOUT" help:"Life of an unpaired connection."`
	FinalDelay time.Duration `default:"250ms" env:"WASIM_FINAL_DELAY" help:"Time between writing a last stanza and closing; 0 closes at once."`
	FewPreKeys bool          `env:"WASIM_FEW_PRE_KEYS" help:"Let new clients upload 50 pre-keys instead of 812."`
	MinVersion string        `env:"WASIM_MIN_VERSION" help:"Refuse older clients with failure 405."`
	Revision   uint32        `env:"WASIM_REVISION" help:"Client revision announced on the web page."`
	PushName   string        `env:"WASIM_PUSH_NAME" help:"Push name of the simulated phones; 'wasim NUMBER' if empty."`
	Verbose    bool          `short:"v" env:"WASIM_VERBOSE" help:"Log every event to standard error."`
}

func main() {
	var o options
	kong.Parse(&o, kong.Name("wasim"), kong.Description("A WhatsApp simulator for unmodified whatsmeow clients."))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "wasim:", err)
		os.Exit(1)
	}
}

// ready is the line printed when both ports are open.
type ready struct {
	Ready    bool   `json:"ready"`
	DialAddr string `json:"dialAddr"`
	Control  string `json:"control"` // URL of the control API
	RootKey  string `json:"rootKey"`
	State    string `json:"state,omitempty"`
}

// run serves until ctx ends.
func run(ctx context.Context, o options, stdout, stderr io.Writer) (err error) {
	s := o.server(stderr)
	control, err := net.Listen("tcp", o.Control)
	if err != nil {
		return fmt.Errorf("control API: %w", err)
	}
	defer func() { _ = control.Close() }()
	if err := s.Start(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.SetMinVersion(o.MinVersion); err != nil {
		return err
	}
	err = json.NewEncoder(stdout).Encode(ready{true, s.DialAddr(), "http://" + control.Addr().String(), s.RootKeyHex(), o.State})
	if err != nil {
		return fmt.Errorf("print addresses: %w", err)
	}
	return serveControl(ctx, control, s.ControlHandler())
}

func (o options) server(stderr io.Writer) *wasim.Server {
	s := &wasim.Server{
		Addr: o.Listen, ExtraHosts: o.Host, StateFile: o.State, Seed: o.Seed,
		QRTimeout: o.QRTimeout, FinalDelay: o.FinalDelay, FewPreKeys: o.FewPreKeys,
		Revision: o.Revision, PushName: o.PushName,
	}
	if o.FinalDelay == 0 {
		s.FinalDelay = -1 // the field's zero means its default
	}
	level := slog.LevelInfo
	if o.Verbose {
		level = slog.LevelDebug
	}
	s.Logger = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	return s
}

// serveControl serves the control API until ctx ends; requests under way are cut off.
func serveControl(ctx context.Context, ln net.Listener, h http.Handler) error {
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ln) }()
	select {
	case err := <-ended:
		return fmt.Errorf("control API: %w", err)
	case <-ctx.Done():
	}
	err := srv.Close()
	<-ended
	return err
}
