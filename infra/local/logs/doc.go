// Package logs keeps what the parts of a system on one machine have to say: all
// of it in a file per part, and what a person should see on the terminal too.
//
//	<dir>/<name>.log      JSON lines of this run, at most maxSize
//	<dir>/<name>.log.1    what came before: the last run, or the first part of this one
//
// On the terminal a line becomes "15:04:05 WARN connector-1: message key=value".
// Warnings and errors are shown, and text that is no JSON (a panic's trace); a
// flood is cut short with a note that names the file.
//
// Nothing is added to what a part writes: that no secret and no QR code is in
// there is the part's own business.
package logs
