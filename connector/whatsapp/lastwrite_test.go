package whatsapp

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	"go.mau.fi/whatsmeow/store"

	"github.com/wafleet/wafleet/shared/session"
)

// The Signal session that the tests of the last write of a term fight over.
const (
	peer       = "551:0"
	putSession = "INSERT INTO whatsmeow_sessions (our_jid, their_id, session) VALUES ($1, $2, $3)"
	getSession = "SELECT session FROM whatsmeow_sessions WHERE our_jid = $1 AND their_id = $2"
)

// lastWrite is a linked device whose session is "old", and that is about to make it "new".
type lastWrite struct {
	*holding
	jid    string
	device *store.Device
	begun  chan struct{} // closed when a write has passed the fence
}

func newLastWrite(t *testing.T, dialect session.Dialect) *lastWrite {
	t.Helper()
	w := &lastWrite{holding: newRig(t).open(dialect), begun: make(chan struct{})}
	w.jid = w.pair("5511999999999")
	var err error
	w.device, err = w.load(w.Context(), w.jid)
	w.must(err)
	w.device.SetAllStores(announcing{w.device.Identities.(stores), w.begun})
	fence(w.device, w.gate, newOrder())
	_, err = w.db().Exec(putSession, w.jid, peer, []byte("old"))
	w.must(err)
	return w
}

func (w *lastWrite) db() *sql.DB {
	if w.file != nil {
		return w.file
	}
	return w.fleet.DB()
}

// announcing says when a session is about to be written.
type announcing struct {
	stores
	begun chan struct{}
}

func (a announcing) PutSession(ctx context.Context, address string, session []byte) error {
	close(a.begun)
	return a.stores.PutSession(ctx, address, session)
}

func (a announcing) PutManySessions(ctx context.Context, sessions map[string][]byte) error {
	close(a.begun)
	return a.stores.PutManySessions(ctx, sessions)
}

// write writes in the background and returns when the fence is passed.
func (w *lastWrite) write(do func() error) (result <-chan error) {
	ended := make(chan error, 1)
	go func() { ended <- do() }()
	<-w.begun
	return ended
}

func (w *lastWrite) put(ctx context.Context) error {
	return w.device.Sessions.PutSession(ctx, peer, []byte("new"))
}

// stall keeps the session from being written: by a lock on its row, or by taking the only connection to its file.
func (w *lastWrite) stall() (resume func()) {
	w.Helper()
	if w.file != nil {
		conn, err := w.file.Conn(context.Background())
		w.must(err)
		return func() {
			if err := conn.Close(); err != nil {
				w.Error(err)
			}
		}
	}
	tx, err := w.fleet.DB().BeginTx(context.Background(), nil)
	w.must(err)
	var held []byte
	w.must(tx.QueryRow(getSession+" FOR UPDATE", w.jid, peer).Scan(&held))
	return func() {
		if err := tx.Rollback(); err != nil {
			w.Error(err)
		}
	}
}

// finds returns the session that the next holder would find.
func (w *lastWrite) finds() (found string) {
	w.Helper()
	next, err := w.rig.devices.Open(w.Context(), w.term)
	w.must(err)
	defer next.Close()
	db := w.fleet.DB()
	if next.file != nil {
		db = next.file
	}
	w.must(db.QueryRow(getSession, w.jid, peer).Scan(&found))
	return found
}

func TestTheEndOfATermWaitsForAWriteUnderWay(t *testing.T) {
	dialects(t, func(t *testing.T, dialect session.Dialect) {
		w := newLastWrite(t, dialect)
		resume := w.stall()
		result := w.write(func() error { return w.put(w.Context()) })
		time.AfterFunc(200*time.Millisecond, resume)
		w.must(w.Device.Close())
		if found := w.finds(); found != "new" {
			t.Errorf("the next holder finds the %s session", found)
		}
		if err := <-result; err != nil {
			t.Errorf("the write: %v", err)
		}
		if err := w.device.Sessions.DeleteSession(w.Context(), peer); !errors.Is(err, errTermEnded) {
			t.Errorf("a write after the end: %v", err)
		}
		if found := w.finds(); found != "new" {
			t.Errorf("then it finds the %s session", found)
		}
	})
}

func TestAWriteWithoutAnEndIsCancelledByThatOfTheTerm(t *testing.T) {
	dialects(t, func(t *testing.T, dialect session.Dialect) {
		w := newLastWrite(t, dialect)
		w.gate.finish, w.gate.cancel = time.Millisecond, patience
		resume := w.stall()
		result := w.write(func() error { return w.put(context.WithoutCancel(w.Context())) })
		if dialect == session.Postgres { // it forgets a cancellation that overtakes the statement
			w.waitsFor("wait_event = 'transactionid'")
		}
		w.must(w.Device.Close())
		if err := <-result; err == nil {
			t.Error("the write says that it was done")
		}
		resume()
		if found := w.finds(); found != "old" {
			t.Errorf("the next holder finds the %s session", found)
		}
	})
}

func TestAWriteThatHangsIsGivenUp(t *testing.T) {
	dialects(t, func(t *testing.T, dialect session.Dialect) {
		w := newLastWrite(t, dialect)
		w.gate.finish, w.gate.cancel = time.Millisecond, time.Millisecond
		resume := make(chan struct{})
		result := w.write(func() error {
			return w.device.EventBuffer.DoDecryptionTxn(w.Context(), func(ctx context.Context) error {
				err := w.put(ctx)
				<-resume
				return err
			})
		})
		if err := w.Device.Close(); !errors.Is(err, errStillWriting) {
			t.Errorf("closed with %v", err)
		}
		if log := w.log.String(); !contains(log, `"level":"ERROR"`) {
			t.Errorf("it is not logged:\n%s", log)
		}
		close(resume)
		if err := <-result; !errors.Is(err, errTermEnded) {
			t.Errorf("the transaction: %v", err)
		}
		if found := w.finds(); found != "old" {
			t.Errorf("the next holder finds the %s session", found)
		}
	})
}

// TestTheEndOfATermWaitsForACommit has a commit that waits: for a lock that a deferred trigger takes.
func TestTheEndOfATermWaitsForACommit(t *testing.T) {
	t.Parallel()
	w := newLastWrite(t, session.Postgres)
	lock, err := w.db().Conn(t.Context())
	w.must(err)
	defer lock.Close()
	for _, statement := range []string{
		"CREATE FUNCTION wait_for_test() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END'",
		"CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON whatsmeow_sessions DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_for_test()",
		"SELECT pg_advisory_lock(1)",
	} {
		_, err := lock.ExecContext(t.Context(), statement)
		w.must(err)
	}
	result := w.write(func() error {
		return w.device.Sessions.PutManySessions(w.Context(), map[string][]byte{peer: []byte("new")})
	})
	w.waitsFor("wait_event = 'advisory' AND query ILIKE 'commit%'")
	time.AfterFunc(200*time.Millisecond, func() {
		if _, err := lock.ExecContext(w.Context(), "SELECT pg_advisory_unlock(1)"); err != nil {
			t.Error(err)
		}
	})
	w.must(w.Device.Close())
	if found := w.finds(); found != "new" {
		t.Errorf("the next holder finds the %s session", found)
	}
	if err := <-result; err != nil {
		t.Errorf("the write: %v", err)
	}
}

// waitsFor waits until a statement waits at the server for a lock.
func (w *lastWrite) waitsFor(lock string) {
	w.Helper()
	waiting := "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND " + lock
	deadline := time.Now().Add(patience)
	for n := 0; n != 1; time.Sleep(5 * time.Millisecond) {
		w.must(w.db().QueryRow(waiting).Scan(&n))
		if time.Now().After(deadline) {
			w.Fatal("no statement waits")
		}
	}
}
