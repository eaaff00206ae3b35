package fakesqs

import (
	"crypto/rand"
	"slices"
	"strings"
	"time"
)

// Settings of a queue. Zero fields get those of SQS.
type Settings struct {
	Visibility  time.Duration // 30 s: how long a received message is hidden
	DeadLetters string        // name of the queue for what was received MaxReceives times; empty: none
	MaxReceives int           // with DeadLetters, at least 1
}

// Queue is one queue of a server. Its methods are for tests.
type Queue struct {
	server   *Server
	name     string
	settings Settings

	// Guarded by the server's mu.
	messages []*message    // in the order in which they became visible
	wake     chan struct{} // closed and made anew when one may have become visible
	polls    int           // that wait now
}

// message is in a queue until it is deleted.
type message struct {
	id       string
	body     string
	sent     time.Time
	first    time.Time // when it was first received
	hidden   time.Time // until then; zero or past: visible
	receives int
	handle   string // of the last receive
}

func newQueue(s *Server, name string, settings Settings) *Queue {
	if settings.Visibility == 0 {
		settings.Visibility = 30 * time.Second
	}
	return &Queue{server: s, name: name, settings: settings, wake: make(chan struct{})}
}

// Put sends a message.
func (q *Queue) Put(body string) {
	q.server.mu.Lock()
	defer q.server.mu.Unlock()
	q.put(&message{id: newID(), body: body, sent: time.Now()})
}

// Bodies is what the queue holds, hidden or not, oldest first.
func (q *Queue) Bodies() []string {
	q.server.mu.Lock()
	defer q.server.mu.Unlock()
	bodies := make([]string, len(q.messages))
	for i, m := range q.messages {
		bodies[i] = m.body
	}
	return bodies
}

// Hidden is how many messages were received and are not deleted.
func (q *Queue) Hidden() int {
	q.server.mu.Lock()
	defer q.server.mu.Unlock()
	_, hidden := q.count(time.Now())
	return hidden
}

// Polls is how many long polls wait now.
func (q *Queue) Polls() int {
	q.server.mu.Lock()
	defer q.server.mu.Unlock()
	return q.polls
}

// Show makes every hidden message visible, as time does.
func (q *Queue) Show() {
	q.server.mu.Lock()
	defer q.server.mu.Unlock()
	for _, m := range q.messages {
		m.hidden = time.Time{}
	}
	q.wakeAll()
}

// The methods below are called under the server's mu.

func (q *Queue) put(m *message) {
	q.messages = append(q.messages, m)
	q.wakeAll()
}

func (q *Queue) wakeAll() {
	close(q.wake)
	q.wake = make(chan struct{})
}

func (q *Queue) count(now time.Time) (visible, hidden int) {
	for _, m := range q.messages {
		if m.hidden.After(now) {
			hidden++
		} else {
			visible++
		}
	}
	return visible, hidden
}

// take receives at most n visible messages. One that was received too often
// goes to the dead letters instead.
func (q *Queue) take(now time.Time, n int, visibility time.Duration) []*message {
	var taken, dead []*message
	for _, m := range q.messages {
		switch {
		case len(taken) == n || m.hidden.After(now):
		case q.settings.DeadLetters != "" && m.receives >= q.settings.MaxReceives:
			dead = append(dead, m)
		default:
			if m.receives++; m.receives == 1 {
				m.first = now
			}
			m.hidden, m.handle = now.Add(visibility), newHandle(m.id)
			taken = append(taken, m)
		}
	}
	for _, m := range dead {
		q.remove(m)
		m.hidden = time.Time{}
		if letters := q.server.queues[q.settings.DeadLetters]; letters != nil {
			letters.put(m)
		}
	}
	return taken
}

// nextVisible is when the first hidden message shows again; zero for none.
func (q *Queue) nextVisible(now time.Time) (next time.Time) {
	for _, m := range q.messages {
		if m.hidden.After(now) && (next.IsZero() || m.hidden.Before(next)) {
			next = m.hidden
		}
	}
	return next
}

// find returns the message that a handle was given out for, or nil once it is
// deleted. valid reports whether the handle can be one of ours.
func (q *Queue) find(handle string) (m *message, valid bool) {
	id, ok := idOf(handle)
	if !ok {
		return nil, false
	}
	at := slices.IndexFunc(q.messages, func(m *message) bool { return m.id == id })
	if at < 0 {
		return nil, true
	}
	return q.messages[at], true
}

func (q *Queue) remove(m *message) {
	q.messages = slices.DeleteFunc(q.messages, func(o *message) bool { return o == m })
}

const handlePrefix = "handle."

func newID() string { return rand.Text() }

func newHandle(id string) string { return handlePrefix + id + "." + rand.Text() }

func idOf(handle string) (id string, ok bool) {
	rest, ok := strings.CutPrefix(handle, handlePrefix)
	if !ok {
		return "", false
	}
	id, _, ok = strings.Cut(rest, ".")
	return id, ok
}
