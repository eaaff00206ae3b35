package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/wafleet/wafleet/shared/apikey"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// newTenant is a tenant just made.
type newTenant struct {
	ID   session.TenantID `json:"id"`
	Name string           `json:"name"`
}

func (a newTenant) text(out, notices io.Writer) {
	fmt.Fprintln(out, a.ID)
	fmt.Fprintf(notices, "Tenant %s is there. Its first key: wafleet create-key --tenant %s --scope admin\n", a.Name, quote(a.Name))
}

// newQuota is a quota just set.
type newQuota struct {
	Name  string `json:"name"`
	Quota *int   `json:"sessionQuota"` // null: the deployment's default
}

func (a newQuota) text(out, _ io.Writer) {
	fmt.Fprintf(out, "Tenant %s may have sessions: %s\n", a.Name, quotaText(a.Quota))
}

func quotaText(quota *int) string {
	switch {
	case quota == nil:
		return "default"
	case *quota == 0:
		return "any number"
	}
	return fmt.Sprint(*quota)
}

// tenants is a list.
type tenants struct {
	Tenants []tenant `json:"tenants"`
}

type tenant struct {
	ID        session.TenantID `json:"id"`
	Name      string           `json:"name"`
	CreatedAt time.Time        `json:"createdAt"`
	Quota     *int             `json:"sessionQuota"` // null: the deployment's default
	Sessions  int              `json:"sessions"`
	Keys      int              `json:"keys"`
}

func tenantsOf(found []store.Tenant) tenants {
	list := make([]tenant, len(found))
	for i, t := range found {
		list[i] = tenant{ID: t.ID, Name: t.Name, CreatedAt: t.CreatedAt.UTC(), Quota: t.Quota, Sessions: t.Sessions, Keys: t.Keys}
	}
	return tenants{list}
}

func (a tenants) text(out, notices io.Writer) {
	if len(a.Tenants) == 0 {
		fmt.Fprintln(notices, "There is no tenant here. wafleet create-tenant makes one.")
		return
	}
	table(out, "NAME\tSESSIONS\tQUOTA\tKEYS\tCREATED\tID", len(a.Tenants), func(i int) []any {
		t := a.Tenants[i]
		return []any{t.Name, t.Sessions, quotaText(t.Quota), t.Keys, when(t.CreatedAt), t.ID}
	})
}

// key is an API key without its secret.
type key struct {
	ID         string       `json:"id"`
	Name       string       `json:"name"`
	Scope      store.Scope  `json:"scope"`
	Session    session.Name `json:"session,omitempty"`
	CreatedAt  time.Time    `json:"createdAt"`
	CreatedBy  string       `json:"createdBy"`
	ExpiresAt  time.Time    `json:"expiresAt,omitzero"`
	LastUsedAt time.Time    `json:"lastUsedAt,omitzero"`
	RevokedAt  time.Time    `json:"revokedAt,omitzero"`
}

func keyOf(k store.Key) key {
	return key{
		ID: k.ID, Name: k.Name, Scope: k.Scope, Session: k.Session, CreatedAt: k.CreatedAt.UTC(), CreatedBy: k.CreatedBy,
		ExpiresAt: k.ExpiresAt.UTC(), LastUsedAt: k.LastUsedAt.UTC(), RevokedAt: k.RevokedAt.UTC(),
	}
}

// newKey is the one answer with a secret.
type newKey struct {
	key
	Secret string `json:"key"`
}

func newKeyOf(made store.Key, secret apikey.Key) newKey {
	return newKey{key: keyOf(made), Secret: secret.Reveal()}
}

func (a newKey) text(out, notices io.Writer) {
	fmt.Fprintln(out, a.Secret)
	what := "scope " + string(a.Scope)
	if a.Session != "" {
		what += ", session " + string(a.Session)
	}
	if !a.ExpiresAt.IsZero() {
		what += ", until " + when(a.ExpiresAt)
	}
	fmt.Fprintf(notices, "This is the API key %s (%s). It is shown only this once: keep it now, and send it in the header apikey.\n", a.ID, what)
}

// keys is a list.
type keys struct {
	Keys []key `json:"keys"`
}

func keysOf(found []store.Key) keys {
	list := make([]key, len(found))
	for i, k := range found {
		list[i] = keyOf(k)
	}
	return keys{list}
}

func (a keys) text(out, notices io.Writer) {
	if len(a.Keys) == 0 {
		fmt.Fprintln(notices, "The tenant has no key here. wafleet create-key makes one.")
		return
	}
	table(out, "ID\tNAME\tSCOPE\tSESSION\tCREATED\tBY\tLAST USED\tEXPIRES\tREVOKED", len(a.Keys), func(i int) []any {
		k := a.Keys[i]
		return []any{k.ID, k.Name, k.Scope, k.Session, when(k.CreatedAt), k.CreatedBy, when(k.LastUsedAt), when(k.ExpiresAt), when(k.RevokedAt)}
	})
}

// revoked is a key just revoked, or revoked before.
type revoked struct {
	ID string `json:"revoked"`
}

func (a revoked) text(out, _ io.Writer) {
	fmt.Fprintf(out, "The API key %s is revoked. It may work for 30 seconds more.\n", a.ID)
}

// rotated is a data key just replaced.
type rotated struct {
	Key string `json:"rotatedUnder"` // ARN of the KMS key
}

func (a rotated) text(out, notices io.Writer) {
	fmt.Fprintln(out, "Secrets are sealed with a fresh data key.")
	fmt.Fprintln(notices, "Processes that run take it over when they meet it, or when they start.")
}

// entries is a part of the audit.
type entries struct {
	Entries []entry `json:"entries"`
}

type entry struct {
	Number    int64      `json:"number"`
	At        time.Time  `json:"at"`
	Key       string     `json:"key"`
	Action    string     `json:"action"`
	Subject   string     `json:"subject"`
	SessionID session.ID `json:"sessionId,omitempty"`
	RequestID string     `json:"requestId,omitempty"`
}

func entriesOf(found []store.AuditEntry) entries {
	list := make([]entry, len(found))
	for i, e := range found {
		list[i] = entry{Number: e.ID, At: e.At.UTC(), Key: e.Key, Action: e.Action, Subject: e.Subject, SessionID: e.Session, RequestID: e.Request}
	}
	return entries{list}
}

func (a entries) text(out, notices io.Writer) {
	if len(a.Entries) == 0 {
		fmt.Fprintln(notices, "Nothing of that kind was done.")
		return
	}
	table(out, "NUMBER\tAT\tBY\tACTION\tSUBJECT\tREQUEST", len(a.Entries), func(i int) []any {
		e := a.Entries[i]
		return []any{e.Number, when(e.At), e.Key, e.Action, e.Subject, e.RequestID}
	})
}

// table aligns columns with two spaces. An empty cell shows as a dash, so that
// columns can be cut by their number.
func table(out io.Writer, head string, rows int, row func(int) []any) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, head)
	for i := range rows {
		cells := row(i)
		texts := make([]string, len(cells))
		for j, cell := range cells {
			if texts[j] = fmt.Sprint(cell); texts[j] == "" {
				texts[j] = "-"
			}
		}
		fmt.Fprintln(w, strings.Join(texts, "\t"))
	}
	_ = w.Flush() // there is nobody to tell that stdout is gone
}

func when(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.Format(time.RFC3339)
}

// quote makes a name one word of a shell.
func quote(name string) string {
	if !strings.ContainsFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.')
	}) {
		return name
	}
	return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
}
