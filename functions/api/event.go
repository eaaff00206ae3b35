package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
)

// dispatcher sorts the events that Lambda delivers. The proxy would answer
// everything that is no request with a 404 that nobody reads.
type dispatcher struct {
	handler http.Handler
	warm    func(context.Context) error
	log     *slog.Logger
}

// kind is what an event is.
type kind int

const (
	kindUnknown  kind = iota
	kindRequest       // API Gateway HTTP API, payload format 2.0
	kindSchedule      // EventBridge: keeps a process and its connection warm
)

var errUnknownEvent = errors.New("this function serves HTTP API requests (payload format 2.0) and scheduled events only")

// probe is the little of an event that tells its kind.
type probe struct {
	Version        string `json:"version"`
	Source         string `json:"source"`
	RequestContext struct {
		HTTP struct {
			Method string `json:"method"`
		} `json:"http"`
	} `json:"requestContext"`
}

func kindOf(event json.RawMessage) kind {
	var p probe
	switch err := json.Unmarshal(event, &p); {
	case err != nil:
		return kindUnknown
	case p.Version == "2.0" && p.RequestContext.HTTP.Method != "":
		return kindRequest
	case p.Source == "aws.events" || p.Source == "aws.scheduler":
		return kindSchedule
	}
	return kindUnknown
}

type warmAnswer struct {
	Warm bool `json:"warm"`
}

// keepWarm touches the database. A database that is down is no error of the
// schedule: requests will report it.
func (d dispatcher) keepWarm(ctx context.Context) warmAnswer {
	if err := d.warm(ctx); err != nil {
		d.log.WarnContext(ctx, "scheduled event: the database does not answer", "error", err.Error())
		return warmAnswer{}
	}
	return warmAnswer{Warm: true}
}

// parsablePath returns a raw path that [url.Parse] takes, unchanged where it
// does already. API Gateway decodes some paths before it passes them on, and the
// proxy would end the invocation for one that it cannot parse.
func parsablePath(raw string) string {
	if !strings.HasPrefix(raw, "/") {
		raw = "/" + raw
	}
	if u, err := url.ParseRequestURI(raw); err == nil && u.RawQuery == "" && !strings.ContainsAny(raw, "?#") {
		return raw
	}
	return (&url.URL{Path: raw}).EscapedPath()
}

// parsableQuery drops a query that could not be part of any URL.
func parsableQuery(raw string) string {
	if _, err := url.Parse("/?" + raw); err != nil || strings.Contains(raw, "#") {
		return ""
	}
	return raw
}
