// Package child runs other programs as child processes that die with this one.
//
// [Start] starts one. It has a process group of its own: a terminal's Ctrl-C
// reaches the parent alone, which decides the order in which things end. Where
// the parent is killed, the kernel signals the child (Linux only).
//
// [Keep] keeps one running: started, watched, restarted where it dies, ended in
// time.
//
//	         ┌──────────── pause ◀────────────┐
//	         ▼                                │
//	Keep ─▶ running ── dies by itself ──▶ ended (Program.Ended)
//	         │ ctx ends
//	         ▼
//	       asked (SIGTERM) ── Grace over, or hurry ──▶ killed (SIGKILL)
//
// Keep returns when the process is gone and its output is read; it never leaves
// one behind.
//
// The package does not know what it runs, and reads nothing from the output.
package child
