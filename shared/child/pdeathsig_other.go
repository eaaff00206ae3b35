//go:build !linux

package child

import "syscall"

// dieWithParent has no equivalent here: a child whose parent was killed stays.
func dieWithParent(*syscall.SysProcAttr, syscall.Signal) {}
