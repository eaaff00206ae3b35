package httpapi

import (
	"strings"
	"time"

	"github.com/wafleet/wafleet/shared/session"
)

// resource is a session as clients read it.
type resource struct {
	Session        session.Name         `json:"session"`
	Name           session.Name         `json:"name"`
	Status         session.Status       `json:"status"`
	StatusReason   *session.Reason      `json:"statusReason"`
	Authenticated  bool                 `json:"authenticated"`
	Me             *account             `json:"me"`
	AssignedWorker *session.ConnectorID `json:"assignedWorker"`
	LastSeenAlive  *time.Time           `json:"lastSeenAlive"`
	Reconnects     int                  `json:"reconnectsLastHour"`
	Config         session.Config       `json:"config"`
}

// mutation is what an endpoint answers that changed a session.
type mutation struct {
	Success bool   `json:"success"`
	Message string `json:"message"`
	resource
}

// version makes an ETag of the resource, also where it is part of a mutation:
// the caller of one can go on with If-None-Match.
func (r resource) version() any { return r }

// account is whose phone a session is linked to.
type account struct {
	ID       string `json:"id"`
	PushName string `json:"pushName"`
}

func resourceOf(s session.Session) resource {
	status, reason := s.View()
	r := resource{
		Session: s.Name, Name: s.Name, Status: status, StatusReason: reason,
		Authenticated: s.Device() != "" && status == session.Working,
		Me:            accountOf(s),
		Reconnects:    s.Run.Reconnects.Count(s.ReadAt),
		Config:        s.Config.Echo(),
	}
	if !s.Run.HeardAt.IsZero() {
		heard := s.Run.HeardAt.UTC()
		r.LastSeenAlive = &heard
	}
	if s.Run.HeldAt(s.ReadAt) {
		r.AssignedWorker = &s.Run.Holder
	}
	return r
}

// accountOf turns the device's AD-JID, "<number>:<device>@s.whatsapp.net", into
// the chat id of its owner. It is nil while no device is linked.
func accountOf(s session.Session) *account {
	number := s.Device()
	if number == "" {
		return nil
	}
	if end := strings.IndexAny(number, ".:@"); end >= 0 {
		number = number[:end]
	}
	return &account{ID: number + "@c.us", PushName: s.Run.PushName}
}
