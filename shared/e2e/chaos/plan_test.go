package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// kind is something that is done to the system.
type kind string

const (
	kill         kind = "kill"            // SIGKILL, and later a new process
	killReported kind = "kill and report" // the same, and the death is made known as a parent would
	freeze       kind = "freeze"          // SIGSTOP, and later SIGCONT
	replace      kind = "replace"         // SIGTERM, and a new process once it has left
	join         kind = "join and leave"  // a process more, which is told to leave or killed

	cut         kind = "cut"
	blackHole   kind = "black hole"
	loseAnswers kind = "lose answers"
	slow        kind = "slow"
	throttle    kind = "throttle"

	cutDatabases   kind = "cut every database link"
	blackDatabases kind = "black hole every database link"
	cutWhatsApps   kind = "cut every WhatsApp link"
	blackWhatsApps kind = "black hole every WhatsApp link"

	restart       kind = "restart Postgres"
	crash         kind = "crash Postgres"
	resetDatabase kind = "reset every database connection"

	killAPI      kind = "kill the API"
	replaceAPI   kind = "replace the API"
	killSweep    kind = "kill sweep"
	replaceSweep kind = "replace sweep"

	dropOne   kind = "drop socket"
	dropAll   kind = "drop all sockets"
	silence   kind = "silence"
	refuse503 kind = "refuse logins with 503"
	refuseAll kind = "refuse connections"

	apiStart   kind = "start"
	apiStop    kind = "stop"
	apiRestart kind = "stop and start"
	apiAnew    kind = "restart"
	apiUpdate  kind = "update"
	apiLogout  kind = "log out"
	apiDelete  kind = "delete"
	apiRemake  kind = "delete and create"
	scan       kind = "scan"
	typeCode   kind = "pairing code"
	logout     kind = "log out from the phone"
)

// step is one thing that is done, to a connector, one of its links, a session,
// or everything.
type step struct {
	at     time.Duration // after the beginning
	kind   kind
	target string        // what it is done to
	member int           // the connector, -1 for none
	where  string        // see choice
	name   string        // the session, empty for none
	lasts  time.Duration // until it is undone; 0: it is over at once
	n      int           // how often, which way
}

func (s step) String() string {
	text := string(s.kind)
	if s.target != "" {
		text += " " + s.target
	}
	if s.lasts > 0 {
		text += fmt.Sprintf(" for %v", s.lasts.Round(10*time.Millisecond))
	}
	return text
}

// choice is something that may happen, and where: to a process of a resident or
// of the visitor, to a link to the database or to whatsapp or to every such link
// at once, to Postgres, to a function, to a session, to one that waits for a
// phone, or to everything.
type choice struct {
	weight int
	kind   kind
	where  string
}

var choices = []choice{
	{4, kill, "process"}, {4, killReported, "process"}, {6, freeze, "process"}, {6, replace, "process"},
	{4, join, "visitor"},
	{3, cut, "database"}, {3, blackHole, "database"}, {3, loseAnswers, "database"}, {2, slow, "database"},
	{3, cut, "whatsapp"}, {3, blackHole, "whatsapp"}, {2, loseAnswers, "whatsapp"}, {1, slow, "whatsapp"}, {2, throttle, "whatsapp"},
	{1, cutDatabases, "databases"}, {1, blackDatabases, "databases"}, {1, cutWhatsApps, "whatsapps"}, {1, blackWhatsApps, "whatsapps"},
	{2, restart, "postgres"}, {2, crash, "postgres"}, {2, resetDatabase, "postgres"},
	{2, killAPI, "api"}, {2, replaceAPI, "api"}, {2, killSweep, "sweep"}, {1, replaceSweep, "sweep"},
	{1, dropAll, "everything"}, {1, refuseAll, "everything"},
	{4, dropOne, "session"}, {4, silence, "session"}, {4, refuse503, "session"},
	{8, apiStart, "session"}, {8, apiStop, "session"}, {8, apiRestart, "session"}, {1, logout, "session"},
	{4, apiAnew, "session"}, {3, apiUpdate, "session"}, {3, apiLogout, "session"}, {2, apiDelete, "session"}, {3, apiRemake, "session"},
	{4, scan, "waiting"}, {3, typeCode, "waiting"},
}

// scenario is what a plan is made for.
type scenario struct {
	seed            uint64
	lasts, lease    time.Duration
	residents       int // connectors that are always wanted; one more visits
	paired, waiting []string
	only            []kind // nothing else happens; everything may where it is empty
}

// planner draws steps.
type planner struct {
	scenario
	*rand.Rand
}

// plan works out what is done in a run. At most one fault of a kind of place
// lasts at a time in each place; faults of different places overlap.
func plan(s scenario) []step {
	p := planner{s, rand.New(rand.NewPCG(s.seed, s.seed))}
	possible := slices.DeleteFunc(slices.Clone(choices), func(c choice) bool {
		return len(s.only) > 0 && !slices.Contains(s.only, c.kind)
	})
	total := 0
	for _, c := range possible {
		total += c.weight
	}
	if total == 0 {
		return nil
	}
	busy := map[string]time.Duration{} // until when a place has a fault
	merciless := s.seed%4 == 0         // else one connector is always let alone
	var steps []step
	for at := time.Duration(0); at < s.lasts; at += p.between(0, 600*time.Millisecond) {
		drawn, pick := p.IntN(total), 0
		for drawn >= possible[pick].weight {
			drawn -= possible[pick].weight
			pick++
		}
		next := p.step(possible[pick])
		next.at = at
		place := next.where + next.target
		if next.kind == refuse503 {
			place = "refused" + next.name
		}
		if busy[place] > at || !merciless && next.member >= 0 && next.member == healthy(at, s.lasts/4, s.residents) {
			continue
		}
		busy[place] = at + next.lasts + 100*time.Millisecond
		if next.kind == refuse503 { // until its session has used the refusals up
			busy[place] = at + 20*time.Second
		}
		steps = append(steps, next)
	}
	return slices.Clip(steps)
}

func (p planner) between(low, high time.Duration) time.Duration {
	return low + time.Duration(p.Int64N(int64(high-low)))
}

// step draws how a choice happens.
func (p planner) step(c choice) step {
	s := step{kind: c.kind, where: c.where, member: -1, n: p.IntN(1000)}
	switch c.where {
	case "process":
		s.member = p.IntN(p.residents)
		s.target = fmt.Sprintf("connector %d's process", s.member)
		s.lasts = p.between(10*time.Millisecond, p.lease)
		if c.kind == freeze { // most are longer than the lease
			s.lasts = p.between(p.lease/2, 2*p.lease)
			if p.IntN(4) == 0 { // until everything else has long gone on
				s.lasts *= 2
			}
		}
	case "visitor": // from hardly there to one of them
		s.member = p.residents
		s.lasts = p.between(200*time.Millisecond, 3*p.lease)
	case "database", "whatsapp":
		s.member = p.IntN(p.residents + 1)
		s.target = fmt.Sprintf("connector %d's %s", s.member, c.where)
		s.lasts = p.between(200*time.Millisecond, 2*p.lease)
	case "databases", "whatsapps":
		s.lasts = p.between(200*time.Millisecond, 2*p.lease)
	case "postgres":
		if c.kind != resetDatabase { // the longest is longer than the lease
			s.lasts = p.between(0, 5*time.Second)
		}
	case "api", "sweep":
		s.lasts = p.between(10*time.Millisecond, p.lease/2)
	case "session":
		s.name = p.paired[p.IntN(len(p.paired))]
		s.target = s.name
		if c.kind == refuse503 { // five in a row end a session
			s.n = 1 + s.n%3
		}
	case "waiting":
		s.name = p.waiting[p.IntN(len(p.waiting))]
		s.target = s.name
	case "everything":
		if c.kind == refuseAll {
			s.lasts = p.between(200*time.Millisecond, p.lease)
		}
	}
	return s
}

// healthy is the connector that nothing is done to alone at that time. The
// longest fault is over before the next one's turn.
func healthy(at, turn time.Duration, residents int) int {
	return int(at/max(turn, 10*time.Second)) % residents
}
