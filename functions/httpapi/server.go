package httpapi

import (
	"context"
	"net/http"
	"time"
)

// healthTimeout is how long the database may take before it counts as down.
const healthTimeout = 2 * time.Second

// ping answers GET /ping: the process is there.
func ping(c *call) error {
	return writeJSON(c, http.StatusOK, map[string]string{"message": "pong"})
}

type checks map[string]map[string]string

// health answers GET /health: the process and its database are there. It says
// little more than that, because it is open. A client version that WhatsApp
// refuses is in the details only: no restart of this process mends it.
func (h *Handler) health(c *call) error {
	ctx, cancel := context.WithTimeout(c.context(), healthTimeout)
	defer cancel()
	up, down := checks{"database": {"status": "up"}}, checks{"database": {"status": "down"}}
	health, err := h.control.Health(ctx)
	if err != nil {
		h.log.WarnContext(ctx, "health: the database does not answer", "request_id", c.requestID, "error", err.Error())
		return writeJSON(c, http.StatusServiceUnavailable, healthBody("error", checks{}, down, down))
	}
	details := checks{"database": up["database"], "clientVersion": {"status": "up"}}
	if health.ClientOutdated {
		details["clientVersion"] = map[string]string{"status": "down",
			"message": "WhatsApp refuses the client version of more than 10 % of the sessions: update wafleet, or set WHATSAPP_VERSION"}
	}
	return writeJSON(c, http.StatusOK, healthBody("ok", up, checks{}, details))
}

func healthBody(status string, info, failed, details checks) map[string]any {
	return map[string]any{"status": status, "info": info, "error": failed, "details": details}
}

type versionBody struct {
	Version string  `json:"version"`
	Engine  string  `json:"engine"`
	Tier    string  `json:"tier"`
	Browser *string `json:"browser"`
}

// serverVersion answers GET /api/server/version.
func (h *Handler) serverVersion(c *call) error {
	return writeJSON(c, http.StatusOK, versionBody{Version: h.version, Engine: "GOWS", Tier: "CORE"})
}

type statusBody struct {
	StartTimestamp int64  `json:"startTimestamp"` // ms since 1970
	Uptime         int64  `json:"uptime"`         // ms
	Version        string `json:"version"`
}

// serverStatus answers GET /api/server/status, for the process that answers.
func (h *Handler) serverStatus(c *call) error {
	return writeJSON(c, http.StatusOK, statusBody{
		StartTimestamp: h.started.UnixMilli(),
		Uptime:         time.Since(h.started).Milliseconds(),
		Version:        h.version,
	})
}
