package settings

import (
	"fmt"
	"io"
	"net/url"
	"os"
	"reflect"
	"text/tabwriter"
)

// Asked reports whether a command line asks for the configuration and for
// nothing else.
func Asked(args []string) bool {
	return len(args) == 1 && (args[0] == "-print-config" || args[0] == "--print-config")
}

// Show prints what a program would run with, and then what is wrong with it. It
// returns the exit code: 0, or 2 for mistakes.
func Show[T any](out, problems io.Writer, read func() (T, error)) int {
	if err := Print[T](out, os.Environ()); err != nil {
		fmt.Fprintln(problems, "print the configuration:", err)
		return 1
	}
	if _, err := read(); err != nil {
		return Refuse(problems, err)
	}
	return 0
}

// Refuse reports the mistakes of an environment as every program does, and
// returns the exit code of a wrong environment.
func Refuse(problems io.Writer, err error) int {
	fmt.Fprintf(problems, "%v:\n%v\n", ErrEnvironment, err)
	return 2
}

const (
	masked = "(secret)"
	unset  = "(unset)"
)

// Print writes a table: variable, value, and where the value is from. Secrets
// are masked, also those that are no valid value.
func Print[T any](out io.Writer, environ []string) error {
	values := given(environ)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "VARIABLE\tVALUE\tFROM")
	for _, f := range fieldsOf(reflect.TypeFor[T]()) {
		value, from := values[f.variable], "environment"
		if value == "" {
			value, from = f.field.Tag.Get("envDefault"), "default"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", f.variable, shown(value, f.field.Tag.Get("secret")), from)
	}
	return table.Flush()
}

func shown(value, secret string) string {
	switch {
	case value == "":
		return unset
	case secret == "true":
		return masked
	case secret == "url":
		u, err := url.Parse(value)
		if err != nil || u.Host == "" {
			return masked
		}
		return withoutPassword(u)
	}
	return value
}

// withoutPassword also looks at the query, where libpq's words may stand.
func withoutPassword(u *url.URL) string {
	query, touched := u.Query(), false
	for _, word := range []string{"password", "passfile", "sslpassword", "sslkey"} {
		if query.Has(word) {
			query.Set(word, "xxxxx")
			touched = true
		}
	}
	if touched {
		u.RawQuery = query.Encode()
	}
	return u.Redacted()
}
