package main

import (
	"regexp"
	"strings"

	"github.com/wafleet/wafleet/shared/session"
)

// crash is what the Go runtime says of the end of a process.
//
// The runtime writes what happened, then the stack of the goroutine that ran
// into it, then perhaps those of others. Texts in a panic cannot pass for more:
// their lines are indented.
type crash struct {
	head    string     // what happened; empty where the runtime itself gave up
	stack   string     // of the goroutine that crashed
	session session.ID // whose goroutine that was; empty: nobody is to blame
}

// goroutine begins a stack. A goroutine that crashed by itself is running; of
// its labels only a session's id counts, which no other text can look like:
// quotes in keys and values are escaped.
var (
	anyGoroutine = regexp.MustCompile(`(?m)^goroutine \d+ `)
	goroutine    = regexp.MustCompile(`^goroutine \d+ (?:gp=0x[0-9a-f]+ m=\d+ mp=0x[0-9a-f]+ )?\[running(?:, locked to thread)? labels:\{(?:[^{}\n]*, )?"session": "([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"(?:, [^{}\n]*)?\}\]:\n`)
	// misuse is the first frame of a fatal error that the goroutine's own code
	// caused, such as two writes to a map at once.
	misuse = regexp.MustCompile(`^(?:runtime|internal/runtime/maps|internal/sync|sync)\.fatal\(`)
)

// parseCrash reads a report, of which the end may be missing.
func parseCrash(report []byte) crash {
	text := string(report)
	at := anyGoroutine.FindStringIndex(text)
	if at == nil {
		return crash{head: strings.TrimSpace(text)}
	}
	head, stack := text[:at[0]], text[at[0]:]
	stack, _, _ = strings.Cut(stack, "\n\n")
	c := crash{head: strings.TrimSpace(head), stack: stack}
	if label := goroutine.FindStringSubmatch(stack); label != nil && ownDoing(head, stack[len(label[0]):]) {
		c.session = session.ID(label[1])
	}
	return c
}

// ownDoing reports whether the goroutine crashed by what it did. Where it only
// happened to run, as when memory ran out or somebody sent a signal, it did not.
func ownDoing(head, frames string) bool {
	switch {
	case strings.HasPrefix(head, "panic: "): // also a nil pointer
		return true
	case strings.HasPrefix(head, "[signal "): // a pointer to nowhere
		return strings.Contains(frames, "\nruntime.sigpanic(")
	case strings.HasPrefix(head, "\nruntime stack:\nruntime.throw("):
		return strings.Contains(head, "\nruntime.newstack(") // endless recursion
	}
	return strings.TrimSpace(head) == "" && misuse.MatchString(frames)
}
