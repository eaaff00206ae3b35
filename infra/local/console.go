package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
)

// console is where people read. What one call prints stays together. That
// nobody reads any more is no error.
type console struct {
	Terminal bool // somebody looks at it: colours and QR codes make sense

	mu  sync.Mutex // guards out
	out io.Writer
}

func newConsole(out io.Writer, terminal bool) *console { return &console{out: out, Terminal: terminal} }

// Line prints one line.
func (c *console) Line(text string) { c.Print(text + "\n") }

// Step says what is going on.
func (c *console) Step(format string, args ...any) { c.Line("· " + fmt.Sprintf(format, args...)) }

// Print prints text as it is.
func (c *console) Print(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = io.WriteString(c.out, text)
}

// Loud marks text that must not be overlooked.
func (c *console) Loud(text string) string {
	if !c.Terminal {
		return text
	}
	return "\x1b[1;33m" + text + "\x1b[0m"
}

// Bold marks what a reader looks for.
func (c *console) Bold(text string) string {
	if !c.Terminal {
		return text
	}
	return "\x1b[1m" + text + "\x1b[0m"
}

// shellQuote makes one word of a shell.
func shellQuote(text string) string {
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
