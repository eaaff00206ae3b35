package house

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A rule forbids direct imports.
type rule struct {
	why   string
	from  func(path string) bool // who
	to    func(path string) bool // must not import
	tests bool                   // holds for tests too
}

func is(directories ...string) func(string) bool {
	return func(path string) bool { return underAny(path, directories...) }
}

func not(match func(string) bool) func(string) bool {
	return func(path string) bool { return !match(path) }
}

func own(directories ...string) func(string) bool {
	full := make([]string, len(directories))
	for i, directory := range directories {
		full[i] = module + "/" + directory
	}
	return is(full...)
}

var rules = []rule{
	{"functions and connector meet in the database only", is("functions"), own("connector"), true},
	{"functions and connector meet in the database only", is("connector"), own("functions"), true},
	{"shared serves both sides and knows neither", func(p string) bool { return under(p, "shared") && !under(p, "shared/e2e") }, own("functions", "connector", "infra"), true},
	{"nothing imports the system that runs everything", not(is("infra")), own("infra"), true},
	{"only these know whatsmeow", not(is("connector/whatsapp", "shared/wasim", "shared/e2e/bare")), is("go.mau.fi/whatsmeow", "go.mau.fi/libsignal"), true},
	{"only these know Lambda", not(is("functions/admin", "functions/api", "functions/migrate", "functions/sweep", "shared/e2e/lambdarun")), is("github.com/aws/aws-lambda-go", "github.com/awslabs/aws-lambda-go-api-proxy"), true},
	{"only these open databases", not(is("shared/store", "shared/pgtest", "shared/pgserver", "connector/whatsapp", "shared/e2e/bare")), is("database/sql", "github.com/lib/pq"), false},
	{"only a program that migrates carries the migrations", not(is("functions/migrate", "infra/local")), own("shared/schema"), false},
	{"the domain depends on nothing of the module", is("shared/session", "shared/backoff", "shared/apikey"), own("functions", "connector", "infra", "shared"), false},
	{"the store speaks the domain's words only", is("shared/store"), func(p string) bool { return under(p, module) && p != module+"/shared/session" }, false},
	{"secrets are sealed in one place", not(is("shared/secret")), is("github.com/tink-crypto"), true},
	{"only these know AWS", not(is("shared/secret", "shared/cloud", "shared/login", "shared/startqueue")), is("github.com/aws/aws-sdk-go-v2"), true},
	{"only the queue of hints knows SQS", not(is("shared/startqueue")), is("github.com/aws/aws-sdk-go-v2/service/sqs"), true},
	{"what carries hints speaks the domain's words only", is("shared/startqueue"), func(p string) bool {
		return under(p, module) && !underAny(p, module+"/shared/startqueue", module+"/shared/session", module+"/shared/cloud", module+"/shared/backoff")
	}, false},
	{"only programs know how hints travel", not(is("functions/api", "connector", "shared/startqueue", "shared/e2e", "infra")), own("shared/startqueue"), true},
	{"what seals speaks the domain's words only", is("shared/secret"), func(p string) bool {
		return under(p, module) && p != module+"/shared/session" && p != module+"/shared/cloud"
	}, false},
	{"who logs in knows the store's words, not its use", is("shared/login"), func(p string) bool {
		return under(p, module) && p != module+"/shared/session" && p != module+"/shared/store" && p != module+"/shared/cloud"
	}, false},
	{"one package reads environments", not(is("shared/settings")), is("github.com/caarlos0/env"), false},
	{"HTTP goes through the use cases", is("functions/httpapi"), own("shared/wasim", "shared/pgserver"), false},
	{"the supervisor and its siblings know no queue", func(p string) bool { return under(p, "connector") && p != "connector" }, own("shared/startqueue"), true},
	{"the use cases know no keys", is("functions/control"), own("functions/access", "shared/apikey"), true},
	{"who may do what is apart from what is done", is("functions/access"), own("functions/control"), false},
	{"the use cases know no HTTP", is("functions/control", "functions/access"), func(p string) bool { return p == "net/http" || own("functions/httpapi")(p) }, false},
}

// connector's packages are siblings: they meet through interfaces of their own,
// and main wires them. These are the exceptions.
var siblings = map[string][]string{
	"connector/whatsapp":   {"connector/event"},
	"connector/runner":     {"connector/event"},
	"connector/supervisor": {"connector/runner"},
}

func TestImportRules(t *testing.T) {
	t.Parallel()
	for _, p := range list(t, "./...") {
		imports := p.Imports
		tests := append(slices.Clone(p.TestImports), p.XTestImports...)
		for _, r := range rules {
			if !r.from(p.path()) {
				continue
			}
			checked := imports
			if r.tests {
				checked = append(slices.Clone(imports), tests...)
			}
			for _, imported := range checked {
				if r.to(imported) && !under(imported, p.ImportPath) && !under(p.ImportPath, imported) {
					t.Errorf("%s imports %s: %s", p.path(), imported, r.why)
				}
			}
		}
		for _, imported := range imports {
			sibling := strings.TrimPrefix(imported, module+"/")
			if under(p.path(), "connector") && p.path() != "connector" && under(sibling, "connector") && !slices.Contains(siblings[p.path()], sibling) {
				t.Errorf("%s imports its sibling %s", p.path(), sibling)
			}
		}
	}
}

func TestPackagesAreNamedAfterANoun(t *testing.T) {
	t.Parallel()
	for _, p := range list(t, "./...") {
		switch p.Name {
		case "util", "utils", "common", "helper", "helpers", "types", "models", "interfaces", "misc", "base":
			t.Errorf("%s is named %s", p.path(), p.Name)
		}
	}
}

func TestOnlyTheStoreHoldsSQL(t *testing.T) {
	t.Parallel()
	statement := regexp.MustCompile("(?s)[\"`](SELECT|INSERT INTO|UPDATE|DELETE FROM|CREATE TABLE|ALTER TABLE|WITH) ")
	for _, p := range list(t, "./...") {
		if underAny(p.path(), "shared/store", "shared/schema", "shared/pgtest", "shared/pgserver") {
			continue
		}
		for _, name := range p.GoFiles {
			text, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if p.path() == "connector/whatsapp" && name == "batch.go" { // whatsmeow's tables, in either database
				continue
			}
			if found := statement.Find(text); found != nil {
				t.Errorf("%s/%s holds SQL: %s...", p.path(), name, found)
			}
		}
	}
}

// maxLines is where a file should have been split.
const maxLines = 430

func TestFilesAreShort(t *testing.T) {
	t.Parallel()
	err := filepath.WalkDir(root(t), func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && strings.HasPrefix(entry.Name(), ".") {
			return filepath.SkipDir
		}
		if filepath.Ext(path) != ".go" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if lines := strings.Count(string(text), "\n"); lines > maxLines {
			t.Errorf("%s has %d lines, more than %d", path, lines, maxLines)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
