package pgserver

import "syscall"

// dieWithParent asks the kernel to send SIGINT, Postgres' fast shutdown, when the forking thread ends. The runtime makes
// the request after it has changed the credentials, which would clear it.
func dieWithParent(attr *syscall.SysProcAttr) {
	attr.Pdeathsig = syscall.SIGINT
}
