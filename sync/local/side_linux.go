package local

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unsafe"

	"golang.org/x/sys/unix"
)

// exchange swaps two directories in one step.
func exchange(a, b string) error {
	return renameat2(a, b, unix.RENAME_EXCHANGE)
}

// renameNew renames onto a name that must be free.
func renameNew(from, to string) error {
	err := renameat2(from, to, unix.RENAME_NOREPLACE)
	if notSupported(err) {
		return renameFree(from, to)
	}
	return err
}

// renameNewAt is renameNew within an open directory.
func renameNewAt(dir int, from, to string) error {
	err := unix.Renameat2(dir, from, dir, to, unix.RENAME_NOREPLACE)
	if notSupported(err) {
		return unix.Renameat(dir, from, dir, to)
	}
	return err
}

func renameat2(from, to string, flags uint) error {
	if err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, flags); err != nil {
		return &os.LinkError{Op: "renameat2", Old: from, New: to, Err: err}
	}
	return nil
}

func flushFS(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	err = unix.Syncfs(int(f.Fd()))
	if notSupported(err) {
		return flushTree(dir, (*os.File).Sync)
	}
	return err
}

// fixed: chattr(1) made it immutable or append-only, which keeps even root from renaming it. No link is followed.
func fixed(path string) bool {
	const held = unix.STATX_ATTR_IMMUTABLE | unix.STATX_ATTR_APPEND
	var st unix.Statx_t
	return unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_TYPE, &st) == nil && st.Attributes&held != 0
}

// project is the project, for quotas, that a directory is in, and whether it takes in what belongs to it alone.
func project(dir string) (id uint32, alone bool) {
	const getAttributes, inherit = 0x801c581f, 0x200 // FS_IOC_FSGETXATTR, FS_XFLAG_PROJINHERIT
	var is struct {
		flags, extent, extents, project, cow uint32
		_                                    [8]byte
	}
	f, err := os.Open(dir)
	if err != nil {
		return 0, false
	}
	defer f.Close()
	_, _, no := unix.Syscall(unix.SYS_IOCTL, f.Fd(), getAttributes, uintptr(unsafe.Pointer(&is)))
	return is.project, no == 0 && is.flags&inherit != 0
}

// unlockFile: only root sets and clears what chattr(1) shows, and knows why.
func unlockFile(string) {}

// fsClock is the clock that file systems stamp with: nothing that changes from here on gets an earlier stamp.
func fsClock() int64 {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &ts) != nil {
		return time.Now().Add(-10 * time.Millisecond).UnixNano()
	}
	return ts.Nano()
}

// cloneFile: copy_file_range(2), which io.Copy uses, shares blocks where the file system can.
func cloneFile(src, dst string) error { return errors.ErrUnsupported }

// steadyInodes: FUSE programs, such as sshfs, may number inodes as they come.
func steadyInodes(dir string) bool {
	var st unix.Statfs_t
	return unix.Statfs(dir, &st) == nil && st.Type != unix.FUSE_SUPER_MAGIC
}

// newDirGroup is the group that mkdir gives below a directory, and whether it passes setgid on.
func newDirGroup(parent unix.Stat_t) (gid, setgid uint32) {
	if parent.Mode&unix.S_ISGID != 0 {
		return parent.Gid, unix.S_ISGID
	}
	return uint32(os.Getegid()), 0
}

// lockHolder names the process that has an flock on the inode, "" if the kernel does not tell.
func lockHolder(st unix.Stat_t) string {
	b, err := os.ReadFile("/proc/locks")
	if err != nil {
		return ""
	}
	id := fmt.Sprintf("%02x:%02x:%d", unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev)), st.Ino)
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line) // 1: FLOCK ADVISORY WRITE 4242 fe:00:1234 0 EOF; a waiter has "->" second
		if len(f) >= 6 && f[1] == "FLOCK" && f[5] == id {
			if pid, err := strconv.Atoi(f[4]); err == nil && pid > 0 {
				return describeProcess(pid)
			}
		}
	}
	return ""
}

func describeProcess(pid int) string {
	who := fmt.Sprintf("pid %d", pid)
	if since, ok := processStart(pid); ok {
		layout := time.TimeOnly
		if time.Since(since) > 20*time.Hour {
			layout = time.DateTime
		}
		who += ", since " + since.Format(layout)
	}
	if name := commandLine(pid); name != "" {
		who = name + " (" + who + ")"
	}
	if host, err := os.Hostname(); err == nil {
		who += " on " + host
	}
	return who
}

// commandLine is short and printable: its bytes are another program's.
func commandLine(pid int) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	args := strings.Split(strings.TrimRight(string(b), "\x00"), "\x00")
	if args[0] == "" {
		return ""
	}
	args[0] = filepath.Base(args[0])
	line := []rune(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.Join(args, " ")))
	if len(line) > 80 {
		return string(line[:79]) + "…"
	}
	return string(line)
}

// processStart adds field 22 of /proc/PID/stat, in ticks of 1/100 s, to the time the machine was started.
func processStart(pid int) (time.Time, bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return time.Time{}, false
	}
	_, rest, _ := strings.Cut(string(b[max(0, strings.LastIndexByte(string(b), ')')):]), " ") // from field 3 on
	f := strings.Fields(rest)
	boot, ok := bootTime()
	if len(f) < 20 || !ok {
		return time.Time{}, false
	}
	ticks, err := strconv.ParseInt(f[19], 10, 64)
	return boot.Add(time.Duration(ticks) * 10 * time.Millisecond), err == nil
}

func bootTime() (time.Time, bool) {
	b, _ := os.ReadFile("/proc/stat")
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "btime "); ok {
			sec, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
			return time.Unix(sec, 0), err == nil
		}
	}
	return time.Time{}, false
}
