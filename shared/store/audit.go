package store

import "github.com/wafleet/wafleet/shared/session"

// Actor is who asks for something, for the audit.
type Actor struct {
	Tenant  session.TenantID
	Key     string // id of the API key, or Operator
	Request string // id of the request, empty where there is none
}

// Operator acts from the command line.
const Operator = "operator"
