// Command fakesqs serves queues of start hints on loopback, in memory, for tests
// and for people without an account:
//
//	fakesqs -listen 127.0.0.1:9324 -queue wafleet-starts
//
// When it is ready it prints one line of JSON with the URL of the queue, for
// QUEUE_URL; the programs also need AWS_REGION and credentials, any at all. What
// was received three times goes to the queue NAME-dead. SIGINT and SIGTERM end
// it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/wafleet/wafleet/shared/startqueue/fakesqs"
)

// maxReceives is after how many receives a message is a dead letter.
const maxReceives = 3

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "fakesqs:", err)
		os.Exit(1)
	}
}

// ready is the line printed when the port is open.
type ready struct {
	Ready       bool   `json:"ready"`
	Endpoint    string `json:"endpoint"`
	QueueURL    string `json:"queueUrl"`
	DeadLetters string `json:"deadLettersUrl"`
}

// run serves until ctx ends.
func run(ctx context.Context, args []string, out, problems io.Writer) error {
	flags := flag.NewFlagSet("fakesqs", flag.ContinueOnError)
	flags.SetOutput(problems)
	listen := flags.String("listen", "127.0.0.1:9324", "`address` on loopback")
	name := flags.String("queue", "wafleet-starts", "`name` of the queue")
	visibility := flags.Duration("visibility", 15*time.Second, "how long a received message is hidden")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := onLoopback(*listen); err != nil {
		return err
	}
	server := fakesqs.New()
	server.Queue(*name+"-dead", fakesqs.Settings{})
	server.Queue(*name, fakesqs.Settings{Visibility: *visibility, DeadLetters: *name + "-dead", MaxReceives: maxReceives})
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", *listen)
	if err != nil {
		return err
	}
	base := "http://" + listener.Addr().String()
	line := ready{true, base, fakesqs.URL(base, *name), fakesqs.URL(base, *name+"-dead")}
	if err := json.NewEncoder(out).Encode(line); err != nil {
		return err
	}
	return serve(ctx, listener, server)
}

// onLoopback refuses an address that others reach: whoever does may read and
// write everything.
func onLoopback(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return errors.New("-listen must be an address on loopback, such as 127.0.0.1:9324")
	}
	return nil
}

// serve ends with ctx; long polls under way are cut off.
func serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	err := server.Close()
	<-ended
	return err
}
