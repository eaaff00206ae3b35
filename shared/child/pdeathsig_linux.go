package child

import "syscall"

// dieWithParent asks the kernel for a signal when the thread that forked ends.
// The runtime makes the request after it has changed the credentials, which
// would clear it.
func dieWithParent(attr *syscall.SysProcAttr, orphaned syscall.Signal) { attr.Pdeathsig = orphaned }
