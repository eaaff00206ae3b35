package pgserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/wafleet/wafleet/shared/child"
)

// ErrNoPooler means that there is no pgbouncer on this machine. The error's text says what to do.
var ErrNoPooler = errors.New("no pgbouncer found: run `apt-get install pgbouncer`")

// poolerPlaces are tried after PATH, which leaves /usr/sbin out for most users.
var poolerPlaces = []string{"/usr/sbin/pgbouncer", "/usr/local/bin/pgbouncer", "/opt/homebrew/bin/pgbouncer"}

// poolerGrace is between SIGTERM, pgbouncer's immediate shutdown, and SIGKILL.
const poolerGrace = 5 * time.Second

// poolerSettings make it as unlike a direct connection as a pooler can be: each transaction of a client runs on whatever
// connection is free, the one that was used longest ago first. What a session keeps between transactions (settings, locks,
// prepared statements) is not there for the next one.
const poolerSettings = `pool_mode = transaction
server_round_robin = 1
default_pool_size = 8
max_client_conn = 400
listen_addr = 127.0.0.1
unix_socket_dir =
auth_type = scram-sha-256
`

// Pooler is a pgbouncer in transaction mode before a server, for tests of whoever may be behind one. All methods are safe
// for concurrent use.
type Pooler struct {
	base    *url.URL // of the server
	port    int
	temp    string // directory of its files, removed at the end
	process *child.Process
}

// StartPooler runs one for every database of the server at base, as the role in that URL, and returns when a query through
// it is answered. Errors: ErrNoPooler, and failures whose text ends with its log. The caller must call Stop.
func StartPooler(ctx context.Context, base string) (_ *Pooler, err error) {
	program, err := findPooler()
	if err != nil {
		return nil, err
	}
	p := &Pooler{}
	if p.base, err = url.Parse(base); err != nil {
		return nil, errors.New("database URL cannot be parsed") // the parse error quotes its input
	}
	acct := childAccount()
	if p.temp, err = makeTemp(acct); err != nil {
		return nil, fmt.Errorf("temporary directory: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(p.temp))
		}
	}()
	version, err := runAs(ctx, acct, "", program, "--version")
	if err != nil {
		return nil, err
	}
	err = onFreePort(ctx, func(port int) error {
		p.port = port
		config, err := p.configure(acct, version)
		if err != nil {
			return err
		}
		return p.run(ctx, acct, program, config)
	})
	return p, err
}

func findPooler() (string, error) {
	if found, err := exec.LookPath("pgbouncer"); err == nil {
		return filepath.Abs(found)
	}
	for _, place := range poolerPlaces {
		if _, err := os.Stat(place); err == nil {
			return place, nil
		}
	}
	return "", ErrNoPooler
}

// configure writes the files of a pooler on its port.
func (p *Pooler) configure(acct account, version string) (config string, err error) {
	config, users := filepath.Join(p.temp, "pgbouncer.ini"), filepath.Join(p.temp, "userlist.txt")
	text := fmt.Sprintf("[databases]\n* = host=%s port=%s\n[pgbouncer]\n%slisten_port = %d\nauth_file = %s\n",
		p.base.Hostname(), p.base.Port(), poolerSettings, p.port, users)
	if keepsStatements(version) {
		text += "max_prepared_statements = 0\n"
	}
	password, _ := p.base.User.Password()
	quote := strings.NewReplacer(`"`, `""`)
	login := fmt.Sprintf("\"%s\" \"%s\"\n", quote.Replace(p.base.User.Username()), quote.Replace(password))
	for path, text := range map[string]string{config: text, users: login} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return "", err
		}
		if err := acct.give(path); err != nil {
			return "", err
		}
	}
	return config, nil
}

// keepsStatements tells whether this pgbouncer (1.21 or newer) can follow prepared statements. Not every one that a
// deployment may have does.
func keepsStatements(version string) bool {
	var major, minor int
	if _, err := fmt.Sscanf(version, "PgBouncer %d.%d", &major, &minor); err != nil {
		return false
	}
	return major > 1 || minor >= 21
}

func (p *Pooler) run(ctx context.Context, acct account, program, config string) error {
	cmd := exec.Command(program, config) // #nosec G204 -- the pgbouncer that was found
	cmd.SysProcAttr = acct.attrs()
	cmd.Env = childEnv()
	cmd.Dir = "/"
	out := &logTail{log: slog.New(slog.DiscardHandler)}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = waitDelay
	var err error
	if p.process, err = child.Start(cmd, syscall.SIGTERM); err != nil {
		return err
	}
	if err := awaitReady(ctx, "pgbouncer", p.Through(p.base.String()), p.process); err != nil {
		p.end()
		return fmt.Errorf("%w%s", err, out.quote())
	}
	return nil
}

// Through returns the URL of a database of the server, by way of the pooler.
func (p *Pooler) Through(direct string) string {
	return p.swap(direct, p.base.Host, net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port)))
}

// Direct undoes Through. Any other URL stays as it is.
func (p *Pooler) Direct(pooled string) string {
	return p.swap(pooled, net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port)), p.base.Host)
}

func (p *Pooler) swap(address, from, to string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host != from {
		return address
	}
	u.Host = to
	return u.String()
}

// Stop ends the pooler and with it every connection through it; it returns with the child gone.
func (p *Pooler) Stop() error {
	p.end()
	return os.RemoveAll(p.temp)
}

func (p *Pooler) end() {
	p.process.Signal(syscall.SIGTERM)
	timer := time.NewTimer(poolerGrace)
	defer timer.Stop()
	select {
	case <-p.process.Gone():
	case <-timer.C:
		p.process.Signal(syscall.SIGKILL)
		<-p.process.Gone()
	}
}
