package child

import "syscall"

// dieWithParent asks the kernel to kill the child when the thread that forked
// it ends. An orderly end would be of no use: what the child works with ends too.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }
