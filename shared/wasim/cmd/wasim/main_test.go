package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// launch runs the program and returns its first line and what ends it.
func launch(t *testing.T, o options) (r ready, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, o, in, io.Discard)
		_ = in.CloseWithError(io.EOF)
		ended <- err
	}()
	if err := json.NewDecoder(out).Decode(&r); err != nil {
		cancel()
		t.Fatalf("no line: %v, %v", err, <-ended)
	}
	return r, func() error {
		cancel()
		select {
		case err := <-ended:
			return err
		case <-time.After(20 * time.Second):
			t.Fatal("does not end")
			return nil
		}
	}
}

func TestProgramKeepsItsAddressAndKeys(t *testing.T) {
	t.Parallel()
	o := options{Listen: "127.0.0.1:0", Control: "127.0.0.1:0", State: filepath.Join(t.TempDir(), "state.json")}
	first, stop := launch(t, o)
	h := &http.Client{Transport: &http.Transport{}}
	defer h.CloseIdleConnections()
	resp, err := h.Get(first.Control + "/info")
	if err != nil {
		t.Fatal(err)
	}
	var info struct{ DialAddr, RootKey string }
	err = json.NewDecoder(resp.Body).Decode(&info)
	_ = resp.Body.Close()
	if err != nil || info.DialAddr != first.DialAddr || info.RootKey != first.RootKey {
		t.Fatal(info, first, err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	second, stop := launch(t, o)
	if second.DialAddr != first.DialAddr || second.RootKey != first.RootKey {
		t.Fatal(first, second)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

func TestProgramStartErrors(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]options{
		"control":     {Listen: "127.0.0.1:0", Control: "nonsense"},
		"listen":      {Listen: "nonsense", Control: "127.0.0.1:0"},
		"min version": {Listen: "127.0.0.1:0", Control: "127.0.0.1:0", MinVersion: "new"},
	} {
		if err := run(t.Context(), o, io.Discard, io.Discard); err == nil {
			t.Errorf("%s: started", name)
		}
	}
}
