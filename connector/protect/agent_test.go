package protect

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestWhatTheAgentAnswers(t *testing.T) {
	t.Parallel()
	const done = `{"protection":{"ExpirationDate":"2026-12-20T21:57:44.837Z","ProtectionEnabled":true,"TaskArn":"arn:aws:ecs:us-west-2:012345678910:task/default/1"}}`
	for name, one := range map[string]struct {
		status  int
		body    string
		says    string
		refused bool
	}{
		"done":             {http.StatusOK, done, "", false},
		"failure":          {http.StatusOK, notValid, "TASK_NOT_VALID", true},
		"error":            {http.StatusBadRequest, denied, "AccessDeniedException no permission", true},
		"error, 200":       {http.StatusOK, denied, "AccessDeniedException no permission", false},
		"error, 500":       {http.StatusInternalServerError, denied, "500 Internal Server Error: AccessDeniedException", false},
		"ECS is silent":    {http.StatusGatewayTimeout, ``, "504", false},
		"not its job":      {http.StatusNotFound, `404 page not found`, "404", true},
		"no JSON":          {http.StatusOK, `<html>`, "decode", false},
		"nothing":          {http.StatusOK, `{}`, "does not say", false},
		"the other way":    {http.StatusOK, `{"protection":{"ProtectionEnabled":false}}`, "does not say", false},
		"goes on for ever": {http.StatusOK, strings.Repeat(" ", answerMaxBytes) + done, "decode", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake := newFakeAgent(t)
			fake.says(one.status, one.body)
			ecs := httptest.NewServer(fake)
			defer ecs.Close()
			err := newAgent(ecs.URL+"/api/c0ffee").set(t.Context(), true)
			if (err == nil) != (one.says == "") || (err != nil && !strings.Contains(err.Error(), one.says)) || errors.Is(err, errRefused) != one.refused {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestTheRequestOnARealConnection(t *testing.T) {
	t.Parallel()
	fake := newFakeAgent(t)
	ecs := httptest.NewServer(fake)
	defer ecs.Close()
	a := newAgent(ecs.URL + "/api/c0ffee/")
	for _, enabled := range []bool{true, false} {
		if err := a.set(t.Context(), enabled); err != nil {
			t.Fatal(err)
		}
		if fake.protected() != enabled {
			t.Errorf("protected is %t", !enabled)
		}
	}
	if got := fake.take(); len(got) != 2 || got[0].minutes != 5 || got[1].minutes != 0 {
		t.Errorf("asked %v", got)
	}
}

func TestNobodyAnswers(t *testing.T) {
	t.Parallel()
	for _, uri := range []string{"http://127.0.0.1:1/api", "://", "nonsense", ""} {
		if err := newAgent(uri).set(t.Context(), true); err == nil {
			t.Errorf("%q: no error", uri)
		}
	}
}

func TestTheProxyIsNotAsked(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the proxy was asked") }))
	defer proxy.Close()
	t.Setenv("HTTP_PROXY", proxy.URL)
	t.Setenv("http_proxy", proxy.URL)
	if err := newAgent("http://agent.invalid/api").set(t.Context(), true); err == nil {
		t.Error("no error")
	}
}
