package session

import "errors"

var (
	// ErrNotFound: the tenant has no session (or key, or request) of that name.
	ErrNotFound = errors.New("not found")
	// ErrActive: a start while the session is starting, waiting for a scan or working.
	ErrActive = errors.New("session already exists and is active")
	// ErrStopped: a stop of a session that is stopped already.
	ErrStopped = errors.New("session is already stopped")
	// ErrStoreInUse: the device store cannot change while a device is linked.
	ErrStoreInUse = errors.New("config.store cannot change while a device is linked: log out first")
	// ErrExists: a new session under a name that the tenant has already.
	ErrExists = errors.New("a session of that name exists already")
	// ErrNotAuthenticated: a logout of a session that no device is linked to.
	ErrNotAuthenticated = errors.New("no device is linked to the session")
	// ErrQuota: the tenant has as many sessions as it may.
	ErrQuota = errors.New("the tenant has as many sessions as it may")
	// ErrFenced: the writer no longer holds the session; its term is over.
	ErrFenced = errors.New("fenced: another connector holds the session")
	// ErrDeviceTaken: the linked device already belongs to another session.
	ErrDeviceTaken = errors.New("the device is linked to another session")
	// ErrLeaseLost: the connector's lease passed; it must start over under a new id.
	ErrLeaseLost = errors.New("the connector's lease has passed")
	// ErrUnavailable wraps every trouble of the database, or of the service that keeps
	// its keys, that a retry may mend.
	ErrUnavailable = errors.New("unavailable for the moment")
)
