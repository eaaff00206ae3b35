package main

import (
	"fmt"
	"strings"
	"time"
)

// summary is what a person needs to know once everything runs.
type summary struct {
	set        settings
	to         endpoint
	key        string
	postgres   string
	data       string
	connectors []string
	took       time.Duration
}

// documentedBody is the start body of the API's documentation.
const documentedBody = `{"config":{"store":{"dialect":"sqlite3","address":"/app/data/whatsmeow.db"},"log":{"level":"INFO"}}}`

// keyBody asks for the key that most programs should have.
const keyBody = `{"name":"my-program","scope":"session","session":"my-session"}`

func (s summary) text(screen *console) string {
	var b strings.Builder
	row := func(name, value string) { fmt.Fprintf(&b, "  %-11s %s\n", name, value) }
	url := fmt.Sprintf("http://127.0.0.1:%d", s.set.Port)
	auth := "-H " + shellQuote("apikey: "+s.key)

	fmt.Fprintf(&b, "\n%s (%.1f s). Ctrl-C stops it.\n\n", screen.Bold("wafleet is ready"), s.took.Seconds())
	row("WhatsApp", s.whatsApp(screen))
	row("Postgres", s.postgres)
	row("API", screen.Bold(url))
	row("API key", screen.Bold(s.key))
	if s.to.choice == chooseSimulator {
		row("Simulator", fmt.Sprintf("control API on http://127.0.0.1:%d", s.set.ControlPort))
	}
	row("Connectors", s.connectorsText())
	row("Data", s.data+" (logs in its directory logs)")

	fmt.Fprintf(&b, "\nTry next:\n\n")
	fmt.Fprintf(&b, "  curl -X POST %s/api/sessions/my-session/start %s -H 'Content-Type: application/json' \\\n    -d '%s'\n", url, auth, documentedBody)
	fmt.Fprintf(&b, "  curl '%s/api/my-session/auth/qr?format=raw' %s\n", url, auth)
	fmt.Fprintf(&b, "  %s\n", s.howToScan())
	fmt.Fprintf(&b, "  curl %s/api/sessions/my-session %s\n", url, auth)
	fmt.Fprintf(&b, "  curl -X POST %s/api/keys %s -d '%s'   # a key for one session; scope admin, tenant, session or read\n\n", url, auth, keyBody)
	return b.String()
}

func (s summary) howToScan() string {
	switch s.to.choice {
	case chooseSimulator:
		return "make scan SESSION=my-session        # the simulated phone scans the code"
	case chooseOverride:
		return "# let a phone of that endpoint scan the code; of a simulator: make scan SESSION=my-session SIM_CONTROL_PORT=..."
	}
	return "# scan the code with the phone: WhatsApp > Settings > Linked devices > Link a device"
}

func (s summary) whatsApp(screen *console) string {
	because := ""
	if s.to.because != "" {
		because = ": " + s.to.because
	}
	switch s.to.choice {
	case chooseSimulator:
		return screen.Loud("SIMULATED, no message reaches a real phone"+because) + "\n" +
			strings.Repeat(" ", 14) + "(WHATSAPP=real insists on the real one)"
	case chooseOverride:
		return screen.Loud("OVERRIDDEN: connectors dial " + s.to.dialAddr + " (WHATSAPP_DIAL_ADDR)")
	}
	return "the real one" + because
}

func (s summary) connectorsText() string {
	text := fmt.Sprintf("%d x %d slots", s.set.Connectors, s.set.Slots)
	if len(s.connectors) > 0 {
		text += ", health and metrics on " + strings.Join(s.connectors, ", ")
	}
	return text
}
