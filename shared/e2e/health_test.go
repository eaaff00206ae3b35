package e2e

import (
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
)

func TestTheConnectorsPrivatePort(t *testing.T) {
	t.Parallel()
	s := newSystem(t, options{})
	address := freeAddress(t)
	c := s.connector("LISTEN=" + address)
	s.pair("a", "5511999990301", "")

	for _, path := range []string{"/livez", "/readyz"} {
		if code, body := fetch(t, address, path); code != 200 {
			t.Errorf("%s answers %d %s", path, code, body)
		}
	}
	_, metrics := fetch(t, address, "/metrics")
	for _, line := range []string{"wafleet_connector_sessions_held 1", "wafleet_connector_slots 600", "wafleet_connector_claims_total 1", "wafleet_connector_illegal_transitions_total 0"} {
		if !strings.Contains(metrics, line+"\n") {
			t.Errorf("no %q in the metrics", line)
		}
	}
	check := func() error {
		command := exec.Command(binaryOf("connector"), "healthcheck")
		command.Env = []string{"LISTEN=" + address}
		return command.Run()
	}
	if err := check(); err != nil {
		t.Errorf("healthcheck: %v", err)
	}
	if code := c.end(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if err := check(); err == nil {
		t.Error("healthy after its end")
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func fetch(t *testing.T, address, path string) (int, string) {
	t.Helper()
	response, err := http.Get("http://" + address + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}
