package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/wafleet/wafleet/shared/pgtest"
	"github.com/wafleet/wafleet/shared/store"
)

// mix runs two different statements from 16 goroutines on 16 connections, and
// counts what was answered to neither or failed. More clients than the pooler has
// connections make it give a connection's next turn to somebody else.
func mix(ctx context.Context, db *sql.DB, rounds int) (wrong, failed int64, example error) {
	const goroutines = 16
	statements := []string{"one", "another"}
	db.SetMaxOpenConns(goroutines)
	db.SetMaxIdleConns(goroutines)
	var (
		running         sync.WaitGroup
		wrongs, failing atomic.Int64
		first           sync.Once
	)
	for worker := range goroutines {
		running.Go(func() {
			for round := range rounds {
				// Both have one parameter and one column, so that nothing but the
				// content tells one's answer from the other's.
				statement := statements[(worker+round)%2]
				var got string
				argument := worker*rounds + round
				err := db.QueryRowContext(ctx, `SELECT '`+statement+` ' || $1::text`, strconv.Itoa(argument)).Scan(&got)
				switch {
				case err != nil:
					failing.Add(1)
					first.Do(func() { example = err })
				case got != fmt.Sprint(statement, " ", argument):
					wrongs.Add(1)
				}
			}
		})
	}
	running.Wait()
	return wrongs.Load(), failing.Load(), example
}

func TestStatementsAreNotMixedUpByAPooler(t *testing.T) {
	t.Parallel()
	s, err := store.Open(pgtest.Pooled(t, pgtest.New(t, nil)), store.Options{ApplicationName: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if wrong, failed, example := mix(t.Context(), s.DB(), 500); wrong+failed != 0 {
		t.Errorf("%d wrong results and %d errors, such as %v", wrong, failed, example)
	}
}

// BenchmarkPooler shows what the driver does behind a pooler as the store opens
// it, and as it would by default: the statement and its arguments in two round
// trips, between which the connection is another's.
func BenchmarkPooler(b *testing.B) {
	const rounds = 2500
	pooled := pgtest.Pooled(b, pgtest.New(b, nil))
	s, err := store.Open(pooled, store.Options{ApplicationName: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	u, err := url.Parse(pooled)
	if err != nil {
		b.Fatal(err)
	}
	query := u.Query()
	query.Del("binary_parameters")
	u.RawQuery = query.Encode()
	byDefault, err := sql.Open("postgres", u.String())
	if err != nil {
		b.Fatal(err)
	}
	defer byDefault.Close()
	for _, way := range []struct {
		name string
		db   *sql.DB
	}{{"store", s.DB()}, {"default", byDefault}} {
		b.Run(way.name, func(b *testing.B) {
			for b.Loop() {
				wrong, failed, example := mix(b.Context(), way.db, rounds)
				b.ReportMetric(float64(16*rounds), "statements")
				b.ReportMetric(float64(wrong), "wrong")
				b.ReportMetric(float64(failed), "errors")
				if example != nil {
					b.Logf("the first error: %v", example)
				}
			}
		})
	}
}
