package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/wafleet/wafleet/shared/session"
	environment "github.com/wafleet/wafleet/shared/settings"
)

const (
	defaultPort        = 8080
	defaultControlPort = 8081

	// requestTimeout covers the API's own wait for a code of 5 s, and the
	// simulator's for a client of 15 s.
	requestTimeout = 20 * time.Second
	workingTimeout = 15 * time.Second
	workingPoll    = 100 * time.Millisecond
	maxAnswer      = 1 << 20
)

// scanCommand lets the simulated phone scan. What is not given is taken from the
// run on the data directory.
type scanCommand struct {
	Session string `arg:"" help:"Name of a session that waits for a scan."`
	Number  string `arg:"" optional:"" help:"Phone number, digits only. Each session has its own where none is given."`

	reach reach
}

// reach is how to get to a running system.
type reach struct {
	APIKey      string `env:"API_KEY"`
	Port        uint16 `env:"PORT"`
	ControlPort uint16 `env:"SIM_CONTROL_PORT"`
}

// Run implements the command.
func (s *scanCommand) Run(c *commands, screen *console) error {
	ctx, _, end := signals()
	defer end()
	if err := s.complete(os.Environ(), c.Data); err != nil {
		return err
	}
	return s.scan(ctx, screen)
}

// complete fills in what was not given: by the environment, by the system that
// runs on the data directory, by defaults.
func (s *scanCommand) complete(environ []string, data string) (err error) {
	if _, err := session.ParseName(s.Session); err != nil {
		return err
	}
	if s.Number == "" {
		s.Number = numberFor(s.Session)
	}
	given, wrong := environment.ReadFrom[reach](environ)
	if err := wrong.Err(); err != nil {
		return err
	}
	s.reach = given
	running := readRunFile(runFilePath(data))
	s.reach.Port = cmp.Or(s.reach.Port, running.Port, defaultPort)
	s.reach.ControlPort = cmp.Or(s.reach.ControlPort, running.ControlPort, defaultControlPort)
	s.reach.APIKey = cmp.Or(s.reach.APIKey, running.APIKey)
	if s.reach.APIKey != "" {
		return nil
	}
	if s.reach.APIKey, err = readKey(filepath.Join(data, "apikey")); err != nil {
		return errors.New("no API key: start the system with make run first, or give API_KEY")
	}
	return nil
}

// numberFor gives every session name a number of its own, the same every time.
func numberFor(name string) string {
	h := fnv.New64a()
	_, _ = io.WriteString(h, name)
	return fmt.Sprintf("55119%08d", h.Sum64()%100_000_000)
}

func (s *scanCommand) scan(ctx context.Context, screen *console) error {
	qr, err := s.code(ctx)
	if err != nil {
		return err
	}
	if err := s.pair(ctx, qr); err != nil {
		return err
	}
	screen.Step("phone %s scanned the code of session %s", s.Number, s.Session)
	working, err := s.awaitWorking(ctx)
	if err != nil {
		return err
	}
	screen.Line(fmt.Sprintf("session %s: %s as %s", s.Session, working.Status, working.Me.ID))
	return nil
}

func (s *scanCommand) code(ctx context.Context) (string, error) {
	var body struct {
		Value string `json:"value"`
	}
	err := s.api(ctx, "/api/"+url.PathEscape(s.Session)+"/auth/qr?format=raw", &body)
	return body.Value, err
}

// pair asks the simulator, which answers when the client has paired.
func (s *scanCommand) pair(ctx context.Context, qr string) error {
	content, err := json.Marshal(map[string]string{"number": s.Number, "qr": qr})
	if err != nil {
		return err
	}
	address := fmt.Sprintf("http://127.0.0.1:%d/scan", s.reach.ControlPort)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(content))
	if err != nil {
		return err
	}
	var refusal struct {
		Error string `json:"error"`
	}
	status, err := do(request, &refusal)
	switch {
	case err != nil:
		return fmt.Errorf("no simulator answers on port %d; does make run use it (WHATSAPP=sim)? %w", s.reach.ControlPort, err)
	case status != http.StatusOK:
		return fmt.Errorf("the simulated phone could not scan: %s", refusal.Error)
	}
	return nil
}

// view is the part of the session resource that a scan is about.
type view struct {
	Status session.Status `json:"status"`
	Reason *struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"statusReason"`
	Me *struct {
		ID string `json:"id"`
	} `json:"me"`
}

// awaitWorking polls until the session works, or gave up.
func (s *scanCommand) awaitWorking(ctx context.Context) (view, error) {
	ctx, cancel := context.WithTimeout(ctx, workingTimeout)
	defer cancel()
	tick := time.NewTicker(workingPoll)
	defer tick.Stop()
	for {
		var now view
		if err := s.api(ctx, "/api/sessions/"+url.PathEscape(s.Session), &now); err != nil {
			return now, err
		}
		if now.Status == session.Working && now.Me != nil {
			return now, nil
		}
		if now.Status == session.Failed || now.Status == session.Stopped {
			return now, fmt.Errorf("session %s is %s%s", s.Session, now.Status, now.why())
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return now, fmt.Errorf("session %s is still %s after %s%s", s.Session, now.Status, workingTimeout, now.why())
		}
	}
}

func (v view) why() string {
	if v.Reason == nil {
		return ""
	}
	return fmt.Sprintf(" (%s: %s)", v.Reason.Code, v.Reason.Message)
}

// api reads from the HTTP API with the key.
func (s *scanCommand) api(ctx context.Context, path string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", s.reach.Port, path), nil)
	if err != nil {
		return err
	}
	request.Header.Set("apikey", s.reach.APIKey)
	var body json.RawMessage
	status, err := do(request, &body)
	if err != nil {
		return fmt.Errorf("no API answers on port %d; does make run run? %w", s.reach.Port, err)
	}
	if status >= http.StatusBadRequest {
		return refusalOf(status, body)
	}
	return json.Unmarshal(body, into)
}

func refusalOf(status int, body []byte) error {
	var refusal struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &refusal) != nil || refusal.Code == "" {
		return fmt.Errorf("the API answers %d", status)
	}
	return fmt.Errorf("the API answers %s: %s", refusal.Code, strings.TrimSuffix(refusal.Message, "."))
}

// do sends a request and decodes the JSON of the answer, whatever its status.
func do(request *http.Request, into any) (status int, err error) {
	client := http.Client{Timeout: requestTimeout}
	defer client.CloseIdleConnections()
	answer, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return 0, err
	}
	if err := json.Unmarshal(content, into); err != nil {
		return answer.StatusCode, fmt.Errorf("the answer is no JSON (status %d)", answer.StatusCode)
	}
	return answer.StatusCode, nil
}
