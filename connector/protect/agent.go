package protect

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Bounds of one request. The agent is on the same machine and asks ECS, for
// which it takes 4 s at most.
const (
	answerTimeout  = 6 * time.Second
	answerMaxBytes = 64 << 10
)

// errRefused means that ECS heard the request and did not do it. After any
// other error it may have.
var errRefused = errors.New("refused")

// agent is the ECS container agent as the container sees it, documented in the
// Amazon ECS developer guide, "Task scale-in protection endpoint".
type agent struct {
	url    string
	client http.Client
}

func newAgent(uri string) *agent {
	return &agent{
		url: strings.TrimSuffix(uri, "/") + "/task-protection/v1/state",
		// Never through a proxy: the address has a meaning on this machine only.
		client: http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
	}
}

// request is the body of a request. ExpiresInMinutes goes with enabling only.
type request struct {
	ProtectionEnabled bool
	ExpiresInMinutes  int `json:",omitempty"`
}

// answer has one of its fields: protection where it was done, failure where
// ECS refused (with the status 200), error where the agent or its request
// failed.
type answer struct {
	Protection *struct{ ProtectionEnabled bool }
	Failure    *struct{ Reason, Detail string }
	Error      *struct{ Code, Message string }
}

// set switches the protection of the task on, for protectFor from now, or off.
func (a *agent) set(ctx context.Context, enabled bool) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	asked := request{ProtectionEnabled: enabled}
	if enabled {
		asked.ExpiresInMinutes = int(protectFor / time.Minute)
	}
	if err := a.put(ctx, asked); err != nil {
		return fmt.Errorf("ask the ECS agent for protection %t: %w", enabled, err)
	}
	return nil
}

func (a *agent) put(ctx context.Context, asked request) error {
	body, err := json.Marshal(asked)
	if err != nil {
		return err
	}
	put, err := http.NewRequestWithContext(ctx, http.MethodPut, a.url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	put.Header.Set("Content-Type", "application/json")
	response, err := a.client.Do(put)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var got answer
	err = json.NewDecoder(io.LimitReader(response.Body, answerMaxBytes)).Decode(&got)
	switch {
	case got.Failure != nil:
		return fmt.Errorf("%w: %s %s", errRefused, got.Failure.Reason, got.Failure.Detail)
	case response.StatusCode >= 400 && response.StatusCode < 500:
		return fmt.Errorf("%w: %s%s", errRefused, response.Status, got.problem())
	case response.StatusCode != http.StatusOK || got.Error != nil:
		return fmt.Errorf("%s%s", response.Status, got.problem())
	case err != nil:
		return fmt.Errorf("decode the answer: %w", err)
	case got.Protection == nil || got.Protection.ProtectionEnabled != asked.ProtectionEnabled:
		return errors.New("the answer does not say that it was done")
	}
	return nil
}

// problem is what the agent says about an error, to follow the status.
func (a answer) problem() string {
	if a.Error == nil {
		return ""
	}
	return ": " + a.Error.Code + " " + a.Error.Message
}
