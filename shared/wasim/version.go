package wasim

import (
	"fmt"
	"strconv"
	"strings"

	"go.mau.fi/whatsmeow/proto/waWa6"
)

// version is a client version of up to three numbers; the zero version is older than any.
type version [3]uint32

// parseVersion reads "2.3000.1045649367". Missing parts are 0; "" is the zero version.
func parseVersion(text string) (v version, err error) {
	if text == "" {
		return v, nil
	}
	parts := strings.Split(text, ".")
	if len(parts) > len(v) {
		return v, fmt.Errorf("version %q has more than three parts", text)
	}
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 10, 32)
		if err != nil {
			return version{}, fmt.Errorf("version %q: part %d is not a number", text, i+1)
		}
		v[i] = uint32(n)
	}
	return v, nil
}

func (v version) less(than version) bool {
	for i := range v {
		if v[i] != than[i] {
			return v[i] < than[i]
		}
	}
	return false
}

// SetMinVersion refuses clients older than v with failure 405, at login and at registration. Empty admits all.
func (s *Server) SetMinVersion(v string) error {
	minimum, err := parseVersion(v)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.minimum = minimum
	s.mu.Unlock()
	s.record(Event{Kind: EventFault, Detail: "min-version " + v}, nil)
	return nil
}

// outdatedLocked reports whether a client is below the minimum. Server.mu is held.
func (s *Server) outdatedLocked(payload *waWa6.ClientPayload) bool {
	app := payload.GetUserAgent().GetAppVersion()
	return version{app.GetPrimary(), app.GetSecondary(), app.GetTertiary()}.less(s.minimum)
}
