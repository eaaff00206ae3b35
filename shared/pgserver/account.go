package pgserver

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// account is who the children run as.
type account struct {
	name     string
	uid, gid uint32
	// drop says that the children need other credentials than this process has, i.e. that this process is root.
	drop bool
}

// nobodyID is the kernel's overflow id, the conventional nobody where no user of that name exists.
const nobodyID = 65534

// childAccount is this process's own account, or for root the first unprivileged one of postgres, nobody, 65534.
func childAccount() account {
	if os.Geteuid() != 0 {
		return account{name: strconv.Itoa(os.Geteuid()), uid: uint32(os.Geteuid()), gid: uint32(os.Getegid())} // #nosec G115 -- ids of a user are not negative where a program runs as one
	}
	for _, name := range []string{"postgres", "nobody"} {
		if acct, ok := lookupAccount(name); ok {
			return acct
		}
	}
	return account{name: strconv.Itoa(nobodyID), uid: nobodyID, gid: nobodyID, drop: true}
}

func lookupAccount(name string) (account, bool) {
	u, err := user.Lookup(name)
	if err != nil {
		return account{}, false
	}
	uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
	gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
	if uidErr != nil || gidErr != nil || uid == 0 {
		return account{}, false
	}
	return account{name: name, uid: uint32(uid), gid: uint32(gid), drop: true}, true
}

// ownerAccount is the account for existing data. For root that is its owner, so that data made by a normal user, or while
// another user existed, stays usable; data owned by root itself is left to Postgres' own refusal.
func ownerAccount(dir string) (account, error) {
	acct := childAccount()
	if !acct.drop {
		return acct, nil
	}
	info, err := os.Stat(dir)
	if err != nil {
		return account{}, err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || stat.Uid == 0 || stat.Uid == acct.uid {
		return acct, nil
	}
	return account{name: strconv.Itoa(int(stat.Uid)), uid: stat.Uid, gid: stat.Gid, drop: true}, nil
}

// attrs puts a child under the account and in its own process group.
func (a account) attrs() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if a.drop {
		attr.Credential = &syscall.Credential{Uid: a.uid, Gid: a.gid}
	}
	return attr
}

// give makes the account the owner of path.
func (a account) give(path string) error {
	if !a.drop {
		return nil
	}
	if err := os.Chown(path, int(a.uid), int(a.gid)); err != nil {
		return fmt.Errorf("give %s to %s: %w", path, a.name, err)
	}
	return nil
}

// blockedAt returns the first directory on the way to dir (dir included) that the account may not traverse by its mode
// bits, or "". Directories that do not exist yet do not block. A process that is not root is not checked: the kernel
// knows better, and there is no other place to go.
func (a account) blockedAt(dir string) string {
	if !a.drop {
		return ""
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	blocked := ""
	for {
		if info, err := os.Stat(dir); err == nil && !a.mayTraverse(info) {
			blocked = dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return blocked
		}
		dir = parent
	}
}

func (a account) mayTraverse(info os.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return true
	}
	mode := info.Mode().Perm()
	switch {
	case stat.Uid == a.uid:
		return mode&0o100 != 0
	case stat.Gid == a.gid:
		return mode&0o010 != 0
	default:
		return mode&0o001 != 0
	}
}
