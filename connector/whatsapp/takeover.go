package whatsapp

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/wafleet/wafleet/shared/session"
)

// A holder that was frozen keeps its lock on a device file for as long as it is
// frozen, and nobody can break it. Its lease has passed, so it must not write
// any more, and the fences see to that when it wakes. So its successor goes on
// with a copy under the next name: whatsmeow.db, whatsmeow.db~1, whatsmeow.db~2.
// The name must be another one, because SQLite removes its write-ahead log by
// name when it closes a file. The newest name counts.

// isLocked reports whether another process has the file open.
func isLocked(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && e.Code()&0xff == sqlite3.SQLITE_BUSY
}

// newest returns the name with the highest number of a file's, which may be
// the file's own.
func newest(root fs.FS, name string) string {
	name = filepath.ToSlash(name)
	entries, _ := fs.ReadDir(root, path.Dir(name)) // unreadable: opening the file will say so
	highest := 0
	for _, entry := range entries {
		if n, ok := numberOf(entry.Name(), path.Base(name)); ok {
			highest = max(highest, n)
		}
	}
	return filepath.FromSlash(numbered(name, highest))
}

func numbered(name string, n int) string {
	if n == 0 {
		return name
	}
	return name + "~" + strconv.Itoa(n)
}

func numberOf(name, base string) (int, bool) {
	digits, ok := strings.CutPrefix(name, base+"~")
	n, err := strconv.Atoi(digits)
	return n, ok && err == nil && n > 0
}

// successor is the next name of a file.
func successor(file string) string {
	if at := strings.LastIndexByte(file, '~'); at >= 0 {
		if n, ok := numberOf(file, file[:at]); ok {
			return numbered(file[:at], n+1)
		}
	}
	return numbered(file, 1)
}

// journals are what SQLite keeps beside a file. What they hold is repeated on
// the file or taken back when it is opened.
var journals = []string{"-wal", "-journal"}

// takeOver copies a device file whose holder does not let go to its next name,
// which it returns, and removes the old name: the holder keeps an open file
// without one. Errors are worth another try.
func (d *Device) takeOver(ctx context.Context, file string) (string, error) {
	copied, err := copyQuiet(file)
	defer remove(copied)
	if err != nil {
		return "", fmt.Errorf("%w: copy the device file: %w", session.ErrUnavailable, err)
	}
	if err := settleJournals(ctx, copied); err != nil {
		return "", fmt.Errorf("%w: check the copy of the device file: %w", session.ErrUnavailable, err)
	}
	if err := d.term.Held(); err != nil {
		return "", err
	}
	next := successor(file)
	// A link, unlike a rename, never replaces what another successor made.
	if err := os.Link(copied, next); err != nil {
		return "", fmt.Errorf("%w: name the copy of the device file: %w", session.ErrUnavailable, err)
	}
	remove(file)
	d.term.Log.Warn("the device file is locked by a holder whose lease has passed; going on with a copy")
	return next, nil
}

// copyMark is in the name of a copy that is being made. No address of a caller
// can have it: "~" is not allowed there.
const copyMark = "~copy-"

// removeLeftovers removes copies that a process left when it died over them:
// they hold credentials. Whoever is still at one has lost its term.
func removeLeftovers(directory string) {
	entries, _ := os.ReadDir(directory) // unreadable: opening the file will say so
	for _, entry := range entries {
		if strings.Contains(entry.Name(), copyMark) {
			_ = os.Remove(filepath.Join(directory, entry.Name()))
		}
	}
}

// copyQuiet copies a file and its journals, and fails where any of them is
// written to meanwhile. The journals come first: pages that a holder moves from
// its log to the file are in the copy of the log too.
func copyQuiet(file string) (copied string, err error) {
	temporary, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+copyMark+"*")
	if err != nil {
		return "", err
	}
	copied = temporary.Name()
	temporary.Close()
	names := slices.Concat(journals, []string{""})
	before := stamps(file, names)
	for _, name := range names {
		if err := copyFile(copied+name, file+name); err != nil && (name == "" || !errors.Is(err, fs.ErrNotExist)) {
			return copied, err
		}
	}
	if !slices.Equal(before, stamps(file, names)) {
		return copied, errors.New("it is being written to")
	}
	return copied, nil
}

type stamp struct {
	size     int64
	modified time.Time
}

func stamps(file string, names []string) []stamp {
	list := make([]stamp, len(names))
	for i, name := range names {
		if info, err := os.Stat(file + name); err == nil {
			list[i] = stamp{info.Size(), info.ModTime()}
		}
	}
	return list
}

func copyFile(to, from string) error {
	in, err := os.Open(from) // #nosec G304 -- a session's own file; session.DataPath has checked its name
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) // #nosec G304 -- a session's own file; session.DataPath has checked its name
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}

// settleJournals brings a copy to one sound file.
func settleJournals(ctx context.Context, file string) error {
	db, err := sql.Open("sqlite", fileURL(file))
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	var verdict string
	if err := db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
		return err
	}
	if verdict != "ok" {
		return errors.New(verdict)
	}
	// Out of the log's mode there is no log left; opening the device comes back to it.
	if err := db.QueryRowContext(ctx, "PRAGMA journal_mode=DELETE").Scan(&verdict); err != nil {
		return err
	}
	if verdict != "delete" {
		return fmt.Errorf("the journal stays in mode %s", verdict)
	}
	return db.Close()
}

// remove forgets a file and what SQLite keeps beside it, as far as it is there.
func remove(file string) {
	if file == "" {
		return
	}
	for _, name := range append([]string{"", "-shm"}, journals...) {
		_ = os.Remove(file + name)
	}
}
