package e2e

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/session"
)

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func (s *system) exec(query string, args ...any) {
	s.Helper()
	db, err := sql.Open("postgres", s.writtenBy(theTest, s.url))
	if err != nil {
		s.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(context.WithoutCancel(s.Context()), query, args...); err != nil {
		s.Fatal(err)
	}
}

// quietStart is for figures: a session's own log level counts, not that of its
// connector.
const (
	quietStart = `{"config":{"store":{"dialect":"postgres"},"log":{"level":"WARN"}}}`
	quietFile  = `{"config":{"store":{"dialect":"sqlite3","address":"/app/data/whatsmeow.db"},"log":{"level":"WARN"}}}`
)

// rss is a process's resident memory in KB.
func rss(t testing.TB, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Skip("resident memory can be read on Linux only")
	}
	for _, line := range strings.Split(string(status), "\n") {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(rest, "kB")))
			if err != nil {
				t.Fatal(err)
			}
			return kb
		}
	}
	t.Fatal("no VmRSS")
	return 0
}

// pairMany pairs sessions s1..sn, some at a time.
func pairMany(s *system, n int) {
	s.Helper()
	pairMore(s, 0, n, quietStart)
}

// pairMore pairs those after the first ones.
func pairMore(s *system, from, to int, start string) {
	s.Helper()
	slots := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for i := from; i < to; i++ {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			name := fmt.Sprint("s", i+1)
			s.start(name, start)
			number := fmt.Sprint(5511900000000 + i)
			s.secret(number)
			if _, err := s.sim.Scan(number, s.qr(name)); err != nil {
				s.Error(err)
			}
		})
	}
	wg.Wait()
	s.eventuallyWithin(time.Minute, fmt.Sprint(to, " sessions WORKING"), func() bool { return s.working() >= to })
}

func (s *system) allWorking(n int) {
	s.Helper()
	s.eventually(fmt.Sprint(n, " sessions WORKING"), func() bool { return s.working() == n })
}

func (s *system) working() int {
	return s.rows(`SELECT count(*) FROM session_run WHERE state = '` + string(session.Working) + `' AND holder IN (SELECT id FROM connector WHERE lease_until > now())`)
}
