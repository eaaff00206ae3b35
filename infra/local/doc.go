// Command wafleet-local runs the whole system on one machine, in the
// foreground, without set-up. It is what `make run`, `make scan` and `make
// invoke` call.
//
//	wafleet-local [run]                    until Ctrl-C
//	wafleet-local scan SESSION [NUMBER]    lets the simulated phone scan a session's QR code
//	wafleet-local with-database PROGRAM    runs another program on the system's database
//
// # What runs where
//
//	wafleet-local ── API (in process, the handler that Lambda serves)
//	     │      ├─── WhatsApp simulator (in process), unless the real one is used
//	     │      ├─── Postgres (child, package pgserver), unless DATABASE_URL is set
//	     └──────┴─── guard ── connector, CONNECTORS times (children, the binaries of production)
//
// # Start and stop
//
// The data directory is locked and both ports are taken before anything else
// happens, so that a second run or a taken port costs one line and no side
// effect. The API's port is open from then on, but a request is answered only
// when the system is there: who waits for the port waits for the system.
//
//	lock, ports ─▶ Postgres, migrations, tenant, key ─┬▶ simulator ─▶ connectors ─▶ API
//	                  probe of web.whatsapp.com ──────┘
//
// A signal stops everything in the opposite order: the API takes no more
// requests (1 s for those under way), connectors release their sessions (8 s,
// then SIGKILL), simulator, Postgres; 10 s at most. A second signal leaves out
// the patience. Children have process groups of their own and end with a parent
// that is killed (on Linux).
//
// # Connectors
//
// Each runs below a guard (package guard), as in production: where it dies, its
// sessions move within a second, and the session that ended it is found. Package
// child keeps the guard running: an end is reported and followed by a restart.
// Where the parent was killed, and all guards with it, the next run's guards end
// the leases.
//
// # State
//
//	.data/lock            held while a run lives
//	.data/apikey          the key made by the first run, mode 0600
//	.data/secrets.key     the key of secrets in configs, made by the first run, mode 0600
//	.data/run.json        ports, key and database of this run, mode 0600; removed at the end
//	.data/run/            per connector, who it is: see package guard
//	.data/real-whatsapp   a mark, see guard.go
//	.data/postgres*       see package pgserver
//	.data/devices/        the sessions' own data directories
//	.data/wasim/          the simulator's devices and keys, and its CA for connectors
//	.data/logs/           see package logs
//
// Removing .data is a fresh start.
//
// QR codes are drawn on a terminal only, never on a pipe and never in a file.
//
// The binary links the simulator, and with it libsignal (GPL-3.0).
package main
