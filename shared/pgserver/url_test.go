package pgserver

import (
	"strings"
	"testing"
)

func TestWithDatabase(t *testing.T) {
	t.Parallel()
	for base, want := range map[string]string{
		"postgres://u:p@h:1/postgres?sslmode=require": "postgres://u:p@h:1/mine?binary_parameters=yes&sslmode=require",
		"postgresql://h":                       "postgresql://h/mine?binary_parameters=yes",
		"postgres://h/x?binary_parameters=yes": "postgres://h/mine?binary_parameters=yes",
	} {
		if got, err := WithDatabase(base, "mine"); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", base, got, err, want)
		}
	}
	for _, bad := range []string{"host=h dbname=x", "mysql://h/x", "postgres://u:secret%zz@h/x"} {
		if got, err := WithDatabase(bad, "mine"); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %q, %v", bad, got, err)
		}
	}
}
