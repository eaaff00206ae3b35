package schema

import (
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Programs of the previous release run on the schema of this one, during a deploy and
// after a rollback. So a migration adds what nobody has to know, and takes away only
// what nobody reads any more, with a comment before the statement that says so:
//
//	-- contracts: session.flag, not read since v1.4.0
var marker = regexp.MustCompile(`(?i)contracts: .*\bsince v?[0-9]+\.[0-9]+`)

// large are tables that grow with sessions and requests: a lock on one of them that
// lasts as long as reading it holds up the fleet.
var large = []string{"SESSION", "SESSION_RUN", "START_JOB", "PAIRING", "PAIRING_REQUEST", "AUDIT", "IDEMPOTENCY"}

// judged by a person: the constraint is about columns that the same migration adds.
var judged = map[string]string{"00005_access.sql": "api_key_session_fits_scope"}

func TestMigrationsOnlyExpand(t *testing.T) {
	t.Parallel()
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := fs.ReadFile(migrations, file)
		if err != nil {
			t.Fatal(err)
		}
		for _, problem := range contracts(string(text)) {
			if excused := judged[strings.TrimPrefix(file, "migrations/")]; excused == "" || !strings.Contains(strings.ToLower(problem), excused) {
				t.Errorf("%s: %s", file, problem)
			}
		}
	}
}

// contracts tells which statements of a migration the previous release, or a busy
// fleet, would not survive.
func contracts(migration string) (problems []string) {
	up, _, _ := strings.Cut(migration, "-- +goose Down")
	outside := strings.Contains(up, "-- +goose NO TRANSACTION")
	var made []string // tables of this migration: nobody uses them yet
	for _, s := range statementsOf(up) {
		if match := regexp.MustCompile(`^CREATE TABLE (?:IF NOT EXISTS )?(\w+)`).FindStringSubmatch(s.code); match != nil {
			made = append(made, match[1])
		}
		if marker.MatchString(s.comments) {
			continue
		}
		for _, why := range s.contracts(made, outside) {
			problems = append(problems, why+": "+s.code)
		}
	}
	return problems
}

// statement is one of a migration: the code in capitals with single spaces, without
// comments and strings, and the comments before and in it.
type statement struct{ code, comments string }

func statementsOf(text string) (all []statement) {
	text = regexp.MustCompile(`'[^']*'`).ReplaceAllStringFunc(text, func(s string) string { return strings.Repeat("'", 2) })
	var now statement
	for line := range strings.Lines(text) {
		code, comment, _ := strings.Cut(strings.TrimSpace(line), "--")
		now.comments += comment + "\n"
		for {
			before, after, ends := strings.Cut(code, ";")
			now.code += " " + before
			if !ends {
				break
			}
			now.code = strings.ToUpper(strings.Join(strings.Fields(now.code), " "))
			all = append(all, now)
			now, code = statement{}, after
		}
	}
	return all
}

var (
	altered    = regexp.MustCompile(`^ALTER TABLE (?:IF EXISTS )?(?:ONLY )?(\w+) (.*)$`)
	indexed    = regexp.MustCompile(`^CREATE (?:UNIQUE )?INDEX (CONCURRENTLY )?(?:IF NOT EXISTS )?\w* ?ON (?:ONLY )?(\w+)`)
	retyped    = regexp.MustCompile(`\bALTER (?:COLUMN )?\w+ (?:SET DATA )?TYPE\b`)
	added      = regexp.MustCompile(`^ADD (?:COLUMN )?(?:IF NOT EXISTS )?\w+ `)
	constraint = regexp.MustCompile(`^ADD (?:CONSTRAINT \w+ )?(?:CHECK|UNIQUE|PRIMARY|FOREIGN|EXCLUDE)\b`)
	rewrites   = regexp.MustCompile(`DEFAULT (?:GEN_RANDOM_UUID|RANDOM|CLOCK_TIMESTAMP|NEXTVAL)\b|\b(?:BIG|SMALL)?SERIAL\b|GENERATED ALWAYS AS \(`)
)

func (s statement) contracts(made []string, outside bool) (why []string) {
	say := func(holds bool, text string) {
		if holds {
			why = append(why, text)
		}
	}
	if match := indexed.FindStringSubmatch(s.code); match != nil && slices.Contains(large, match[2]) && !slices.Contains(made, match[2]) {
		say(match[1] == "", "locks a large table while it reads it: CREATE INDEX CONCURRENTLY, in a migration of its own with -- +goose NO TRANSACTION")
		say(match[1] != "" && !outside, "needs -- +goose NO TRANSACTION")
	}
	match := altered.FindStringSubmatch(s.code)
	if match == nil {
		say(regexp.MustCompile(`^(?:DROP|TRUNCATE)\b`).MatchString(s.code), "takes away what the previous release may use")
		say(regexp.MustCompile(`^ALTER (?:TYPE|DOMAIN|INDEX|VIEW)\b`).MatchString(s.code), "changes what the previous release may use")
		return why
	}
	if slices.Contains(made, match[1]) {
		return nil
	}
	for _, action := range clauses(match[2]) {
		say(strings.HasPrefix(action, "DROP "), "takes away what the previous release may use")
		say(strings.HasPrefix(action, "RENAME "), "the previous release knows the old name")
		say(retyped.MatchString(action), "the previous release knows the old type, and the table is rewritten")
		say(strings.HasSuffix(action, "SET NOT NULL"), "the previous release may write NULL")
		say(strings.HasSuffix(action, "DROP DEFAULT"), "the previous release may rely on the default")
		say(constraint.MatchString(action) && !strings.HasSuffix(action, "NOT VALID"), "the previous release may write what it refuses, and the table is read under a lock")
		if added.MatchString(action) && !constraint.MatchString(action) && !strings.HasPrefix(action, "ADD CONSTRAINT ") {
			say(strings.Contains(action, "NOT NULL") && !strings.Contains(action, "DEFAULT"), "the previous release does not fill a column that it does not know")
			say(rewrites.MatchString(action), "the table is rewritten under a lock")
		}
	}
	return why
}

// clauses splits at commas outside of parentheses.
func clauses(text string) (all []string) {
	depth, from := 0, 0
	for i, letter := range text {
		switch letter {
		case '(':
			depth++
		case ')':
			depth--
		case ',':
			if depth == 0 {
				all, from = append(all, strings.TrimSpace(text[from:i])), i+1
			}
		}
	}
	return append(all, strings.TrimSpace(text[from:]))
}

func TestContractingStatementsAreFound(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{
		"DROP TABLE session;", "DROP INDEX session_running;", "TRUNCATE audit;",
		"ALTER TABLE session DROP COLUMN config;", "ALTER TABLE session DROP config;", "ALTER TABLE session\n  ADD COLUMN a int, -- new\n  DROP COLUMN b;",
		"ALTER TABLE session RENAME COLUMN config TO c;", "ALTER TABLE session RENAME TO sessions;",
		"ALTER TABLE session ALTER COLUMN secrets SET NOT NULL;", "ALTER TABLE session ALTER config TYPE jsonb;", "ALTER TABLE session ALTER COLUMN config SET DATA TYPE jsonb USING config::jsonb;",
		"ALTER TABLE connector ALTER COLUMN held DROP DEFAULT;",
		"ALTER TABLE tenant ADD COLUMN plan text NOT NULL;", "ALTER TABLE tenant ADD plan text NOT NULL;",
		"ALTER TABLE session ADD COLUMN n uuid DEFAULT gen_random_uuid();", "ALTER TABLE session ADD COLUMN n bigserial;",
		"ALTER TABLE session ADD CONSTRAINT short CHECK (length(name) < 10);", "ALTER TABLE session ADD UNIQUE (name);",
		"CREATE INDEX x ON session (name);", "CREATE UNIQUE INDEX x ON session_run (jid);", "CREATE INDEX CONCURRENTLY x ON audit (at);",
		"ALTER TYPE mood ADD VALUE 'x';", "-- contracts: soon\nDROP TABLE tenant;",
		"-- contracts: a, not read since v1.2.0\nDROP TABLE a;\nDROP TABLE b;",
	} {
		if len(contracts("-- +goose Up\n"+bad+"\n-- +goose Down\n")) == 0 {
			t.Errorf("%q is let through", bad)
		}
	}
	for _, good := range []string{
		"CREATE TABLE x (id int NOT NULL); CREATE INDEX y ON x (id); ALTER TABLE x ADD COLUMN z int NOT NULL;",
		"ALTER TABLE session ADD COLUMN a text, ADD COLUMN b int NOT NULL DEFAULT 0, ADD COLUMN c numeric(3, 1) CHECK (c > 0);",
		"ALTER TABLE session ALTER COLUMN config DROP NOT NULL;", "ALTER TABLE session ADD CONSTRAINT c CHECK (true) NOT VALID;",
		"CREATE INDEX x ON connector (task);", "INSERT INTO tenant VALUES ('DROP TABLE x; ALTER TABLE y DROP z;');",
		"-- contracts: session.flag, not read since v1.4.0\nALTER TABLE session DROP COLUMN flag;",
		"-- DROP TABLE x;\nSELECT 1;",
	} {
		if problems := contracts("-- +goose Up\n" + good + "\n-- +goose Down\nDROP TABLE x;\n"); len(problems) > 0 {
			t.Errorf("%q: %v", good, problems)
		}
	}
	if len(contracts("-- +goose NO TRANSACTION\n-- +goose Up\nCREATE INDEX CONCURRENTLY x ON audit (at);")) > 0 {
		t.Error("an index that is made without a lock is refused")
	}
}
