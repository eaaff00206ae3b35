//go:build !linux

package pgserver

import "syscall"

// dieWithParent has no equivalent here: a server whose parent was killed stays until the next Start stops it.
func dieWithParent(*syscall.SysProcAttr) {}
