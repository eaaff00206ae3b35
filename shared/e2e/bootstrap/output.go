package bootstrap

import (
	"bytes"
	"regexp"
	"sync"
	"testing"
	"time"
)

// patience bounds the wait for what a program says.
const patience = 30 * time.Second

// Output collects what a program writes, from any goroutine. The zero value is
// empty.
type Output struct {
	mu   sync.Mutex
	text bytes.Buffer  // guarded by mu
	more chan struct{} // guarded by mu; a wake-up of those who wait, nil where nobody does
}

func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.more != nil {
		close(o.more)
		o.more = nil
	}
	return o.text.Write(p)
}

func (o *Output) String() string {
	text, _ := o.Text()
	return text
}

// Text returns what was written so far, and a channel that is closed when there
// is more.
func (o *Output) Text() (text string, more <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.more == nil {
		o.more = make(chan struct{})
	}
	return o.text.String(), o.more
}

// Await returns the first match of a pattern with one group. It fails the test
// where there is none in 30 s, or when the program is gone; gone may be nil.
func (o *Output) Await(t testing.TB, pattern string, gone <-chan struct{}) string {
	t.Helper()
	find := regexp.MustCompile(pattern)
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for ended := false; ; {
		text, more := o.Text()
		if match := find.FindStringSubmatch(text); match != nil {
			return match[1]
		}
		if ended {
			t.Fatalf("a program ended before it said %s:\n%s", pattern, Tail(text))
		}
		select {
		case <-more:
		case <-gone:
			ended = true // what it said last may be in the text by now
		case <-deadline.C:
			t.Fatalf("a program never said %s:\n%s", pattern, Tail(text))
		}
	}
}

// Tail is the end of a long text.
func Tail(text string) string {
	const enough = 6000
	if len(text) > enough {
		return "..." + text[len(text)-enough:]
	}
	return text
}
