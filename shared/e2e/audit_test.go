package e2e

import (
	"database/sql"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// theTest is the writer of what a test writes by itself, which is not judged: it
// sets clocks back and empties terms.
const theTest = "the test"

// auditRun watches every write to session_run from inside the database: what a
// poll would miss is seen here. Writers say who they are by a run-time parameter
// in their URL, see writtenBy. A term belongs to the process whose write raised
// the epoch; whoever else writes under that epoch is a stale holder whose write
// has become visible.
const auditRun = `
CREATE TABLE audit_term (session_id uuid, epoch bigint, writer text, PRIMARY KEY (session_id, epoch));
CREATE TABLE audit_fault (number bigint GENERATED ALWAYS AS IDENTITY, session_id uuid, kind text, detail text);
CREATE FUNCTION audit_run() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    me text := COALESCE(current_setting('audit.writer', true), '');
    owner text;
BEGIN
    IF me = '` + theTest + `' THEN
        RETURN NULL;
    END IF;
    IF NEW.epoch < OLD.epoch THEN
        INSERT INTO audit_fault (session_id, kind, detail) VALUES (NEW.session_id, 'epoch', OLD.epoch || ' to ' || NEW.epoch);
    ELSIF NEW.epoch > OLD.epoch THEN
        INSERT INTO audit_term VALUES (NEW.session_id, NEW.epoch, me);
    ELSE
        SELECT writer INTO owner FROM audit_term WHERE session_id = NEW.session_id AND epoch = NEW.epoch;
        IF owner IS DISTINCT FROM me OR NEW.holder <> OLD.holder OR (OLD.holder IS NULL AND NEW.holder IS NOT NULL) THEN
            INSERT INTO audit_fault (session_id, kind, detail) VALUES (NEW.session_id, 'stale',
                'writer ' || me || ' in the term of ' || COALESCE(owner, 'nobody') || ', epoch ' || NEW.epoch || ', state ' || NEW.state);
        END IF;
    END IF;
    IF NEW.state = 'FAILED' AND OLD.state <> 'FAILED' THEN
        INSERT INTO audit_fault (session_id, kind, detail) VALUES (NEW.session_id, 'failed', COALESCE(NEW.reason_code, ''));
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER audit_run AFTER UPDATE ON session_run FOR EACH ROW EXECUTE FUNCTION audit_run();`

// The kinds of faults that the audit knows.
const (
	faultEpoch  = "epoch"  // went back
	faultStale  = "stale"  // a write of somebody else than the owner of the epoch
	faultFailed = "failed" // a session became FAILED
)

// audit begins to watch; sessions must be unclaimed.
func (s *system) audit() {
	s.Helper()
	s.exec(auditRun)
}

// writtenBy is a URL of the database for a writer that the audit can tell from
// others.
func (s *system) writtenBy(writer, address string) string {
	s.Helper()
	u, err := url.Parse(address)
	if err != nil {
		s.Fatal(err)
	}
	query := u.Query()
	query.Set("audit.writer", writer)
	u.RawQuery = query.Encode()
	return u.String()
}

// audited gives every program a name of its own, by whatever way it reaches the
// database. A guard and its connector are one program.
func (s *system) audited(env []string) []string {
	s.Helper()
	s.mu.Lock()
	s.programs++
	writer := fmt.Sprint("program ", s.programs)
	s.mu.Unlock()
	for i, line := range env {
		if address, ok := strings.CutPrefix(line, "DATABASE_URL="); ok {
			env[i] = "DATABASE_URL=" + s.writtenBy(writer, address)
		}
	}
	return env
}

// noFaults checks that the audit has found none of these kinds.
func (s *system) noFaults(kinds ...string) {
	s.Helper()
	for _, kind := range kinds {
		if found := s.faults(kind); len(found) > 0 {
			s.Errorf("the audit found %d faults of kind %q:\n%s", len(found), kind, strings.Join(found[:min(len(found), 10)], "\n"))
		}
	}
}

// faults returns what the audit has found so far of one kind.
func (s *system) faults(kind string) []string {
	s.Helper()
	return s.texts(`SELECT session_id || ': ' || detail FROM audit_fault WHERE kind = $1 ORDER BY number`, kind)
}

// texts runs a query whose only column is a text.
func (s *system) texts(query string, args ...any) (list []string) {
	s.Helper()
	db, err := sql.Open("postgres", s.url)
	if err != nil {
		s.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query(query, args...)
	if err != nil {
		s.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			s.Fatal(err)
		}
		list = append(list, text)
	}
	if err := rows.Err(); err != nil {
		s.Fatal(err)
	}
	return list
}

// TestTheAuditSeesWhatMustNotBe keeps the audit honest: holders in good order
// leave no trace, and every kind of fault does.
func TestTheAuditSeesWhatMustNotBe(t *testing.T) {
	t.Parallel()
	s := newSystem(t, options{allowFaults: true})
	plant(s, 1)
	s.exec(`INSERT INTO start_job (session_id) SELECT id FROM session`)
	old, next := s.writer("old"), s.writer("next")
	first := old.claim()
	old.report(first, session.Working)
	if err := s.store.EndLease(t.Context(), old.me); err != nil {
		t.Fatal(err)
	}
	if found, err := next.EnqueueOrphans(t.Context()); found.Jobs != 1 || err != nil {
		t.Fatalf("orphans %+v, error %v", found, err)
	}
	second := next.claim()
	next.report(second, session.Working)
	old.report(first, session.Starting) // refused
	s.wantFaults(0, 0, 0)

	old.force(`UPDATE session_run SET state = 'STARTING'`)
	s.wantFaults(0, 1, 0)
	next.force(`UPDATE session_run SET epoch = epoch - 1`)
	s.wantFaults(1, 1, 0)
	next.force(`UPDATE session_run SET epoch = epoch + 9, state = 'FAILED'`)
	s.wantFaults(1, 1, 1)
	next.force(`UPDATE session_run SET holder = 'another'`)
	s.wantFaults(1, 2, 1)
	s.exec(`UPDATE session_run SET state_at = now() - interval '1 minute'`)
	s.wantFaults(1, 2, 1)
}

func (s *system) wantFaults(epoch, stale, failed int) {
	s.Helper()
	got := []int{len(s.faults(faultEpoch)), len(s.faults(faultStale)), len(s.faults(faultFailed))}
	if want := []int{epoch, stale, failed}; !slices.Equal(got, want) {
		s.Fatalf("faults %v, want %v:\n%s", got, want, strings.Join(s.texts(`SELECT kind || ' ' || detail FROM audit_fault ORDER BY number`), "\n"))
	}
}

// writer is a connector's half of the store that the audit knows by name.
type writer struct {
	*store.Store
	*system
	me  session.ConnectorID
	url string
}

func (s *system) writer(name string) writer {
	s.Helper()
	w := writer{system: s, me: session.NewConnectorID(name), url: s.writtenBy(name, s.url)}
	var err error
	if w.Store, err = store.Open(w.url, store.Options{ApplicationName: name}); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { w.Store.Close() })
	if err := w.Register(s.Context(), store.Connector{ID: w.me, Address: "-", Slots: 1, Version: "-"}, time.Minute); err != nil {
		s.Fatal(err)
	}
	return w
}

func (w writer) claim() store.Claim {
	w.Helper()
	claims, err := w.ClaimIfFree(w.Context(), w.me, 1, 0, 1)
	if err != nil || len(claims) != 1 {
		w.Fatalf("claims %v, error %v", claims, err)
	}
	return claims[0]
}

func (w writer) report(c store.Claim, state session.Status) {
	w.Helper()
	_, err := w.SetStateIfEpoch(w.Context(), w.me, []store.Report{{Term: store.Term{ID: c.ID, Epoch: c.Epoch}, State: state, Seen: c.Wanted.Generation}})
	if err != nil {
		w.Fatal(err)
	}
}

// force writes without asking for the epoch.
func (w writer) force(query string) {
	w.Helper()
	if _, err := w.DB().ExecContext(w.Context(), query); err != nil {
		w.Fatal(err)
	}
}
