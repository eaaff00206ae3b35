package pgtest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(Wrap(m)) }

// migrations counts how often the schema was made in this process.
var migrations atomic.Int32

func migrateThing(ctx context.Context, url string) error {
	migrations.Add(1)
	return onDB(url, func(db *sql.DB) error {
		_, err := db.ExecContext(ctx, "CREATE TABLE thing (id int PRIMARY KEY)")
		return err
	})
}

func onDB(url string, do func(*sql.DB) error) error {
	db, err := sql.Open("postgres", url)
	if err != nil {
		return err
	}
	return errors.Join(do(db), db.Close())
}

func queryInt(t *testing.T, url, query string) (n int) {
	t.Helper()
	if err := onDB(url, func(db *sql.DB) error { return db.QueryRowContext(t.Context(), query).Scan(&n) }); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

func TestParallelDatabasesAreSeparateAndMigratedOnce(t *testing.T) {
	t.Parallel()
	t.Run("group", func(t *testing.T) {
		for i := range 16 {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				url := New(t, migrateThing)
				if got := queryInt(t, url, fmt.Sprintf("INSERT INTO thing VALUES (%d) RETURNING id", i)); got != i {
					t.Errorf("inserted %d, got %d", i, got)
				}
				if got := queryInt(t, url, "SELECT count(*) FROM thing"); got != 1 {
					t.Errorf("rows = %d, want the own one only", got)
				}
			})
		}
	})
	if got := migrations.Load(); got != 1 {
		t.Errorf("migrations = %d, want 1", got)
	}
}

func TestDatabaseIsDroppedWithOpenConnections(t *testing.T) {
	t.Parallel()
	var db *sql.DB
	var name string
	t.Run("owner", func(t *testing.T) {
		url := New(t, nil)
		var err error
		if db, err = sql.Open("postgres", url); err != nil {
			t.Fatal(err)
		}
		if err := db.QueryRowContext(t.Context(), "SELECT current_database()").Scan(&name); err != nil {
			t.Fatal(err)
		}
	})
	defer db.Close()
	url := New(t, nil)
	if got := queryInt(t, url, "SELECT count(*) FROM pg_database WHERE datname = '"+name+"'"); got != 0 {
		t.Errorf("database %s exists after its test", name)
	}
}

func TestMigrationFailureIsReportedAndLeavesNothing(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	var made string
	_, _, err := process.create(t.Context(), func(ctx context.Context, url string) error {
		return errors.Join(boom, onDB(url, func(db *sql.DB) error {
			return db.QueryRowContext(ctx, "SELECT current_database()").Scan(&made)
		}))
	})
	if !errors.Is(err, boom) || made == "" {
		t.Fatalf("err = %v, database %q", err, made)
	}
	if got := queryInt(t, New(t, nil), "SELECT count(*) FROM pg_database WHERE datname = '"+made+"'"); got != 0 {
		t.Errorf("template %s exists after a failed migration", made)
	}
}

// A migrate function that forgets a connection must not make the template useless.
func TestTemplateIsDisconnected(t *testing.T) {
	t.Parallel()
	var leaked *sql.DB
	leaky := func(ctx context.Context, url string) (err error) {
		if leaked, err = sql.Open("postgres", url); err != nil {
			return err
		}
		_, err = leaked.ExecContext(ctx, "CREATE TABLE leaked ()")
		return err
	}
	url := New(t, leaky)
	defer leaked.Close()
	if got := queryInt(t, url, "SELECT count(*) FROM leaked"); got != 0 {
		t.Errorf("rows = %d", got)
	}
}

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		_, name, err := process.create(b.Context(), migrateThing)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := process.drop(b.Context(), name); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func TestClosuresFromOnePlaceAreToldApart(t *testing.T) {
	t.Parallel()
	for _, table := range []string{"apple", "pear"} {
		url := New(t, func(ctx context.Context, url string) error {
			return onDB(url, func(db *sql.DB) error {
				_, err := db.ExecContext(ctx, "CREATE TABLE "+table+" ()")
				return err
			})
		})
		if got := queryInt(t, url, "SELECT count(*) FROM "+table); got != 0 {
			t.Errorf("rows = %d", got)
		}
	}
}
