package main

import (
	"strings"
	"testing"

	"github.com/wafleet/wafleet/shared/session"
)

// crashOf runs a child that crashes below a guard and returns its report.
func crashOf(t *testing.T, role, label string, env ...string) death {
	t.Helper()
	cmd := childOf(role, append(env, envLabel+"="+label)...)
	w, err := startWard(cmd, nil, func(session.ConnectorID) {})
	if err != nil {
		t.Fatal(err)
	}
	return w.death()
}

// TestTheCulpritIsFoundInRealReports: which session is blamed for what the Go
// runtime says of crashes.
func TestTheCulpritIsFoundInRealReports(t *testing.T) {
	t.Parallel()
	const session = "019a0000-0000-7000-8000-000000000001"
	for role, one := range map[string]struct {
		head, frame string // in what is logged
		either      string // in one of them: the runtime gives up on its own stack or on the goroutine's
		nobody      bool
	}{
		"panic":     {head: "panic: of 5511999990001", frame: "guard.init.func1"},
		"error":     {head: "panic: an error"},
		"forgery":   {head: "panic: x"},
		"again":     {head: "panic: again: once"},
		"nil":       {head: "nil pointer dereference\n[signal SIGSEGV"},
		"locked":    {head: "panic: locked to its thread"},
		"unlock":    {frame: "sync.(*Mutex).Unlock"},
		"map":       {frame: "maps.fatal"},
		"recursion": {head: "runtime.newstack", frame: "recurse"},
		"fault":     {head: "[signal SIGBUS"},
		"long":      {head: "panic: long long", nobody: true}, // the goroutine is beyond the bound
		"memory":    {either: "runtime.throw", nobody: true},
		"quit":      {head: "SIGQUIT", nobody: true},
		"segv":      {head: "SIGSEGV", nobody: true},
		"killed":    {nobody: true},
	} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			for _, traceback := range []string{"", "GOTRACEBACK=system"} {
				d := crashOf(t, role, session, traceback)
				c := parseCrash(d.report)
				if one.nobody != (c.session == "") || !one.nobody && c.session != session {
					t.Errorf("%s: blamed %q, want nobody: %v\n%s", traceback, c.session, one.nobody, d.report)
				}
				if !strings.Contains(c.head, one.head) || !strings.Contains(c.stack, one.frame) || !strings.Contains(c.head+c.stack, one.either) {
					t.Errorf("%s: head %.300q, stack %.300q\n%.2000s", traceback, c.head, c.stack, d.report)
				}
				if strings.Contains(c.stack, "\n\ngoroutine ") || len(d.report) > maxReport {
					t.Errorf("%s: %d bytes of more than one goroutine", traceback, len(d.report))
				}
			}
		})
	}
}

func TestWithoutALabelNobodyIsBlamed(t *testing.T) {
	t.Parallel()
	for _, label := range []string{"", "not-an-id", "019A0000-0000-7000-8000-000000000001", `x", "session": "` + other} {
		if c := parseCrash(crashOf(t, "panic", label).report); c.session != "" || !strings.HasPrefix(c.head, "panic: ") {
			t.Errorf("label %q: blamed %q for %q", label, c.session, c.head)
		}
	}
}

func TestOddReports(t *testing.T) {
	t.Parallel()
	const line = `goroutine 7 [running labels:{"session": "` + other + `"}]:`
	for report, want := range map[string]session.ID{
		"panic: x\n\n" + line + "\nmain.f()\n":                                         other,
		"panic: x\n\n" + strings.Replace(line, "{", `{"a": "b", `, 1) + "\nmain.f()\n": other,
		"panic: x\n\n" + strings.Replace(line, "\"}", `", "a": "b"}`, 1) + "\nf()\n":   other,
		"":           "",
		"panic: x\n": "",
		// All goroutines are asleep; the detector of races has no such report.
		"\ngoroutine 1 [sync.Mutex.Lock labels:{\"session\": \"" + other + "\"}]:\ninternal/sync.runtime_SemacquireMutex()\n": "",
		line:                   "",
		"panic: x\n\n" + line:  "", // torn
		line + "\nmain.f()\n":  "", // nothing happened
		"panic: x\n\n " + line: "",
		"panic: x\n\ngoroutine 1 [select]:\nmain.main()\n\n" + line + "\nmain.f()\n": "", // another one's
		"panic: x\n\n" + strings.Replace(line, "running", "select", 1) + "\nf()\n":   "",
		"fatal error: x\n\n" + line + "\nruntime.throw()\n":                          "",
	} {
		if got := parseCrash([]byte(report)).session; got != want {
			t.Errorf("blamed %q, want %q, for\n%s", got, want, report)
		}
	}
}

func FuzzParseCrash(f *testing.F) {
	f.Add([]byte("panic: x\n\ngoroutine 7 [running labels:{\"session\": \"" + other + "\"}]:\nmain.f()\n"))
	f.Add([]byte("\nruntime stack:\nruntime.throw()\nruntime.newstack()\n\ngoroutine 1 gp=0x1 m=0 mp=0x2 [running]:\n"))
	f.Fuzz(func(t *testing.T, report []byte) {
		c := parseCrash(report)
		if c.session != "" && (len(c.session) != len(other) || !strings.Contains(c.stack, `"session": "`+string(c.session)+`"`)) {
			t.Errorf("blamed %q for %q", c.session, report)
		}
	})
}
