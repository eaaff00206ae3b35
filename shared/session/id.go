package session

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/google/uuid"
)

// ID names a session for ever; the name a tenant gave it is only unique per
// tenant and may be reused after deletion. It is a UUIDv7 in canonical text.
type ID string

// TenantID names the owner of sessions and API keys. It is a UUIDv7.
type TenantID string

// ConnectorID names one run of one connector process. A process that lost its
// lease starts over under a new one.
type ConnectorID string

// Epoch is a session's fencing token: it goes up at every claim and is never
// reset. A write that carries an older epoch than the row's is refused.
type Epoch int64

// Generation counts what the user wanted: it goes up at every start, stop,
// restart, logout and change of config.
type Generation int64

// NewID returns a fresh session id, ordered by time.
func NewID() ID { return ID(newUUID()) }

// ParseID reads an id in canonical text.
func ParseID(text string) (ID, error) {
	if _, err := uuid.Parse(text); err != nil || len(text) != len(uuid.UUID{}.String()) {
		return "", errors.New("not the id of a session")
	}
	return ID(text), nil
}

// NewTenantID returns a fresh tenant id, ordered by time.
func NewTenantID() TenantID { return TenantID(newUUID()) }

// NewConnectorID returns an id for one process run. The host part is only for
// people; uniqueness comes from the UUID.
func NewConnectorID(host string) ConnectorID {
	host = hostUnsafe.ReplaceAllString(host, "-")
	if len(host) > 32 {
		host = host[:32]
	}
	if host == "" {
		host = "connector"
	}
	return ConnectorID(host + "-" + newUUID())
}

var hostUnsafe = regexp.MustCompile(`[^A-Za-z0-9-]+`)

// newUUID panics only where the operating system has no randomness left,
// which nothing in a service can survive.
func newUUID() string { return uuid.Must(uuid.NewV7()).String() }

// Name is what a tenant calls a session.
type Name string

// buriedPattern is what a deleted session is named until it is erased.
var buriedPattern = regexp.MustCompile(`^deleted-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

var namePattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,54}$`)

// NewName returns a name for a session that its tenant gave none.
func NewName() Name { return Name("session_" + strings.ReplaceAll(newUUID(), "-", "")) }

// reservedNames collide with routes of the API.
var reservedNames = map[string]bool{
	"sessions": true, "contacts": true, "files": true, "server": true, "keys": true, "send": true,
	"events": true, "apps": true, "screenshot": true, "version": true, "messages": true,
}

// ParseName checks a session name as it came from a caller. Its error is a
// [*FieldError] for the field "session".
func ParseName(s string) (Name, error) {
	if !namePattern.MatchString(s) {
		return "", &FieldError{Field: "session", Problem: "must be 1 to 54 letters, digits, '_' or '-'"}
	}
	if reservedNames[s] {
		return "", &FieldError{Field: "session", Problem: fmt.Sprintf("%q is a reserved word, choose another name", s)}
	}
	if buriedPattern.MatchString(s) {
		return "", &FieldError{Field: "session", Problem: "must not look like what is left of a deleted session, choose another name"}
	}
	return Name(s), nil
}
