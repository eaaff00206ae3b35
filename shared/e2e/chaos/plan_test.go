package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// kind is something that is done to the system.
type kind string

const (
	kill    kind = "kill"    // SIGKILL, and later a new process
	freeze  kind = "freeze"  // SIGSTOP, and later SIGCONT
	replace kind = "replace" // SIGTERM, and a new process once it has left

	cut         kind = "cut"
	blackHole   kind = "black hole"
	loseAnswers kind = "lose answers"
	slow        kind = "slow"
	throttle    kind = "throttle"

	resetDatabase kind = "reset every database connection"

	dropOne   kind = "drop socket"
	dropAll   kind = "drop all sockets"
	silence   kind = "silence"
	refuse503 kind = "refuse logins with 503"
	refuseAll kind = "refuse connections"

	apiStart   kind = "start"
	apiStop    kind = "stop"
	apiRestart kind = "stop and start"
	scan       kind = "scan"
	logout     kind = "log out from the phone"
)

// step is one thing that is done, to a connector, one of its links, a session,
// or everything.
type step struct {
	at     time.Duration // after the beginning
	kind   kind
	target string        // what it is done to
	member int           // the connector, -1 for none
	where  string        // process, database, whatsapp
	name   string        // the session, empty for none
	lasts  time.Duration // until it is undone; 0: it is over at once
	n      int           // how often, which way
}

func (s step) String() string {
	text := fmt.Sprintf("%s %s", s.kind, s.target)
	if s.lasts > 0 {
		text += fmt.Sprintf(" for %v", s.lasts.Round(10*time.Millisecond))
	}
	return text
}

// choice is something that may happen.
type choice struct {
	weight int
	kind   kind
	where  string // process, database, whatsapp, session, waiting, everything
}

var choices = []choice{
	{6, kill, "process"}, {6, freeze, "process"}, {6, replace, "process"},
	{3, cut, "database"}, {3, blackHole, "database"}, {3, loseAnswers, "database"}, {2, slow, "database"},
	{3, cut, "whatsapp"}, {3, blackHole, "whatsapp"}, {2, loseAnswers, "whatsapp"}, {1, slow, "whatsapp"}, {2, throttle, "whatsapp"},
	{2, resetDatabase, "everything"}, {1, dropAll, "everything"}, {1, refuseAll, "everything"},
	{4, dropOne, "session"}, {4, silence, "session"}, {4, refuse503, "session"},
	{8, apiStart, "session"}, {8, apiStop, "session"}, {8, apiRestart, "session"}, {1, logout, "session"},
	{4, scan, "waiting"},
}

// plan works out what is done in a run. At most one fault of a kind of place
// lasts at a time in each place; faults of different places overlap.
func plan(seed uint64, lasts, lease time.Duration, members int, paired, waiting []string) []step {
	r := rand.New(rand.NewPCG(seed, seed))
	between := func(low, high time.Duration) time.Duration { return low + time.Duration(r.Int64N(int64(high-low))) }
	total, choices := 0, slices.Clone(choices)
	if only != "" {
		choices = slices.DeleteFunc(choices, func(c choice) bool { return !slices.Contains(strings.Split(only, ","), string(c.kind)) })
	}
	for _, c := range choices {
		total += c.weight
	}
	busy := map[string]time.Duration{} // until when a place has a fault
	merciless := seed%4 == 0           // else one connector is always let alone
	var steps []step
	for at := time.Duration(0); at < lasts; at += between(0, 600*time.Millisecond) {
		drawn, pick := r.IntN(total), 0
		for drawn >= choices[pick].weight {
			drawn -= choices[pick].weight
			pick++
		}
		c := choices[pick]
		s := step{at: at, kind: c.kind, where: c.where, member: -1, n: r.IntN(1000)}
		switch c.where {
		case "process", "database", "whatsapp":
			s.member = r.IntN(members)
			s.target = fmt.Sprintf("connector %d's %s", s.member, c.where)
			s.lasts = between(200*time.Millisecond, 2*lease)
			if c.kind == freeze { // most are longer than the lease
				s.lasts = between(lease/2, 2*lease)
				if r.IntN(4) == 0 { // until everything else has long gone on
					s.lasts *= 2
				}
			}
			if c.kind == kill || c.kind == replace {
				s.lasts = between(10*time.Millisecond, lease)
			}
		case "session":
			s.name = paired[r.IntN(len(paired))]
			s.target = s.name
			if c.kind == refuse503 { // five in a row end a session
				s.n = 1 + s.n%3
			}
		case "waiting":
			s.name = waiting[r.IntN(len(waiting))]
			s.target = s.name
		case "everything":
			s.target = ""
			if c.kind == refuseAll {
				s.lasts = between(200*time.Millisecond, lease)
			}
		}
		place := c.where + s.target
		if c.kind == refuse503 {
			place = "refused" + s.name
		}
		if busy[place] > at || !merciless && s.member >= 0 && s.member == healthy(at, lasts/4, members) {
			continue
		}
		busy[place] = at + s.lasts + 100*time.Millisecond
		if c.kind == refuse503 { // until its session has used the refusals up
			busy[place] = at + 20*time.Second
		}
		steps = append(steps, s)
	}
	return slices.Clip(steps)
}

// healthy is the connector that nothing is done to at that time. The longest
// fault is over before the next one's turn.
func healthy(at, turn time.Duration, members int) int {
	return int(at/max(turn, 10*time.Second)) % members
}
