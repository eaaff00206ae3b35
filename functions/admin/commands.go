package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/alecthomas/kong"

	"github.com/wafleet/wafleet/functions/access"
	"github.com/wafleet/wafleet/shared/secret"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// commands is the table of commands: each field is one.
type commands struct {
	CreateTenant createTenant `cmd:"" help:"Make a tenant."`
	ListTenants  listTenants  `cmd:"" help:"List tenants with their quotas, sessions and working keys."`
	SetQuota     setQuota     `cmd:"" help:"Bound how many sessions a tenant may have. Sessions that are there stay."`
	CreateKey    createKey    `cmd:"" help:"Make an API key and show it once."`
	ListKeys     listKeys     `cmd:"" help:"List a tenant's API keys, the newest first."`
	RevokeKey    revokeKey    `cmd:"" help:"End an API key. It may work for 30 seconds more."`
	RotateKey    rotateKey    `cmd:"" help:"Put a fresh API key in the place of another and show it once."`
	Audit        audit        `cmd:"" help:"List what was done in a tenant, the newest first."`

	RotateSecrets rotateSecrets `cmd:"" help:"Seal secrets in configs with a fresh data key from now on. What is sealed already stays readable. SECRETS_KMS_KEY says which key of AWS KMS keeps it."`
}

// desk is what a command works with.
type desk struct {
	access  *access.Access
	request string // id of the request, for the audit
	secrets secrets
}

// command does what its fields say.
type command interface {
	do(ctx context.Context, d desk) (answer, error)
}

// answer is what a command has to say, as JSON too. A secret goes to out alone.
type answer interface {
	text(out, notices io.Writer)
}

// selected is the command of a parsed command line.
func selected(line *kong.Context) command {
	return line.Selected().Target.Addr().Interface().(command)
}

// description is the first line of the help.
var description = kong.Description("Tenants, API keys and quotas of wafleet. DATABASE_URL says where.")

type ofTenant struct {
	Tenant string `required:"" placeholder:"NAME" help:"The tenant's name."`
}

type paged struct {
	Limit  int `default:"100" help:"How many at most, up to 1000."`
	Offset int `default:"0" help:"How many to leave out first."`
}

// maxPage fits Lambda's answer of 6 MB.
const maxPage = 1000

func (p paged) page() (store.Page, error) {
	if p.Offset < 0 {
		return store.Page{}, &session.FieldError{Field: "offset", Problem: "must not be negative"}
	}
	return store.Page{Limit: p.Limit, Offset: p.Offset}, checkLimit(p.Limit)
}

func checkLimit(limit int) error {
	if limit < 1 || limit > maxPage {
		return &session.FieldError{Field: "limit", Problem: fmt.Sprintf("must be from 1 to %d", maxPage)}
	}
	return nil
}

type createTenant struct{ ofTenant }

func (c *createTenant) do(ctx context.Context, d desk) (answer, error) {
	id, err := d.access.CreateTenant(ctx, c.Tenant)
	return newTenant{ID: id, Name: c.Tenant}, err
}

type listTenants struct{ paged }

func (c *listTenants) do(ctx context.Context, d desk) (answer, error) {
	page, err := c.page()
	if err != nil {
		return nil, err
	}
	found, err := d.access.Tenants(ctx, page)
	return tenantsOf(found), err
}

type setQuota struct {
	ofTenant
	Sessions *int `xor:"quota" required:"" placeholder:"N" help:"At most so many; 0 for any number."`
	Default  bool `xor:"quota" required:"" help:"Whatever the deployment says in SESSION_QUOTA."`
}

func (c *setQuota) do(ctx context.Context, d desk) (answer, error) {
	by, err := d.access.Operator(ctx, c.Tenant, d.request)
	if err != nil {
		return nil, err
	}
	return newQuota{Name: c.Tenant, Quota: c.Sessions}, d.access.SetQuota(ctx, by, c.Sessions)
}

type createKey struct {
	ofTenant
	Name      string        `placeholder:"TEXT" help:"What the key is for."`
	Scope     string        `placeholder:"SCOPE" help:"admin (everything of the tenant, and its keys), tenant (everything but keys; the default), session (one session) or read (no changes, no QR codes)."`
	Session   string        `placeholder:"NAME" help:"The only session of a key of scope session or read."`
	ExpiresIn time.Duration `placeholder:"720h" help:"The key ends by itself after this time; never where this is left out."`
	ExpiresAt time.Time     `placeholder:"2030-01-31T12:00:00Z" help:"The same, as a time."`
}

func (c *createKey) do(ctx context.Context, d desk) (answer, error) {
	by, err := d.access.Operator(ctx, c.Tenant, d.request)
	if err != nil {
		return nil, err
	}
	made, secret, err := d.access.CreateKey(ctx, by, access.KeyRequest{
		Name: c.Name, Scope: store.Scope(c.Scope), Session: c.Session, ExpiresAt: c.ExpiresAt, ExpiresIn: c.ExpiresIn,
	})
	return newKeyOf(made, secret), err
}

type listKeys struct {
	ofTenant
	paged
}

func (c *listKeys) do(ctx context.Context, d desk) (answer, error) {
	page, err := c.page()
	if err != nil {
		return nil, err
	}
	by, err := d.access.Operator(ctx, c.Tenant, d.request)
	if err != nil {
		return nil, err
	}
	found, err := d.access.Keys(ctx, by.Tenant, page)
	return keysOf(found), err
}

type ofKey struct {
	ofTenant
	ID string `name:"id" required:"" placeholder:"ID" help:"The key's id, from list-keys: the middle part of wf_<id>_<secret>."`
}

type revokeKey struct{ ofKey }

func (c *revokeKey) do(ctx context.Context, d desk) (answer, error) {
	by, err := d.access.Operator(ctx, c.Tenant, d.request)
	if err != nil {
		return nil, err
	}
	return revoked{ID: c.ID}, d.access.RevokeKey(ctx, by, c.ID)
}

type rotateKey struct {
	ofKey
	Grace time.Duration `default:"0s" placeholder:"1h" help:"How long the old key still works."`
}

func (c *rotateKey) do(ctx context.Context, d desk) (answer, error) {
	by, err := d.access.Operator(ctx, c.Tenant, d.request)
	if err != nil {
		return nil, err
	}
	made, secret, err := d.access.RotateKey(ctx, by, c.ID, c.Grace)
	return newKeyOf(made, secret), err
}

// secrets is where the fleet's data key is kept.
type secrets struct {
	kmsKey string // ARN; empty: this program was not told
	stored secret.Keys
}

type rotateSecrets struct{}

func (*rotateSecrets) do(ctx context.Context, d desk) (answer, error) {
	if d.secrets.kmsKey == "" {
		return nil, errNoKMSKey
	}
	return rotated{Key: d.secrets.kmsKey}, secret.Rotate(ctx, d.secrets.kmsKey, d.secrets.stored)
}

var errNoKMSKey = errors.New("SECRETS_KMS_KEY is missing: the ARN that the API and the connectors have; a key file is rotated by putting another in its place and setting the secrets anew")

type audit struct {
	ofTenant
	Key     string `placeholder:"ID" help:"Only what this key did, or operator."`
	Action  string `placeholder:"WORD" help:"Only this, such as key.create."`
	Subject string `placeholder:"TEXT" help:"Only what names this, such as a session or a key's id."`
	Before  int64  `placeholder:"N" help:"Only entries with a lower number: the next page."`
	Limit   int    `default:"100" help:"How many at most, up to 1000."`
}

func (c *audit) do(ctx context.Context, d desk) (answer, error) {
	if err := checkLimit(c.Limit); err != nil {
		return nil, err
	}
	by, err := d.access.Operator(ctx, c.Tenant, d.request)
	if err != nil {
		return nil, err
	}
	found, err := d.access.Audit(ctx, by.Tenant, store.AuditFilter{
		Key: c.Key, Action: c.Action, Subject: c.Subject, Before: c.Before, Limit: c.Limit,
	})
	return entriesOf(found), err
}
