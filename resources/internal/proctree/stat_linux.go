package proctree

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/sys/unix"
)

// ID tells processes apart for as long as the machine is up.
type ID struct {
	PID   int
	Start uint64 // clock ticks after boot
}

// Stat is what is of interest in /proc/PID/stat.
type Stat struct {
	ID
	Comm       string
	State      byte
	PPID, PGrp int
	threads    int
}

// Dead reports whether the process has ended. One whose first thread has exited before
// the others looks like a zombie, but has them.
func (st Stat) Dead() bool {
	return st.State == 'X' || (st.State == 'Z' && st.threads <= 1)
}

var errBadStat = errors.New("unreadable process status")

// ReadStat reads /proc/PID/stat; proc_pid_stat(5) numbers its fields from 1.
func ReadStat(pid int) (Stat, error) {
	raw, err := ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return Stat{}, err
	}
	// The name is the program's own choice and may hold anything, brackets too.
	open, end := bytes.IndexByte(raw, '('), bytes.LastIndexByte(raw, ')')
	if open < 0 || end < open {
		return Stat{}, errBadStat
	}
	const first = 3 // number of the first field after the name
	f := strings.Fields(string(raw[end+1:]))
	if len(f) <= 22-first {
		return Stat{}, errBadStat
	}
	st := Stat{ID: ID{PID: pid}, Comm: printable(string(raw[open+1 : end])), State: f[0][0]}
	var errs [4]error
	st.PPID, errs[0] = strconv.Atoi(f[4-first])
	st.PGrp, errs[1] = strconv.Atoi(f[5-first])
	st.threads, errs[2] = strconv.Atoi(f[20-first])
	st.Start, errs[3] = strconv.ParseUint(f[22-first], 10, 64)
	return st, errors.Join(errs[:]...)
}

// ReadFile reads a file of /proc, or another that the kernel makes up of records shorter than
// 3 kB, whole. It takes half the system calls of os.ReadFile, which asks for the size first,
// whether the poller could watch it, and for more than there is. The error is a syscall.Errno.
func ReadFile(path string) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	// The kernel (fs/seq_file.c) gives as many records as its page of 4 kB holds, or less at the
	// end of the file: who asks for a piece of a page and is given less has had all.
	const piece = 1024
	for raw := []byte(nil); ; {
		raw = slices.Grow(raw, piece)
		n, err := unix.Read(fd, raw[len(raw):len(raw)+piece])
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return nil, err
		case n < piece:
			return raw[:len(raw)+n], nil
		}
		raw = raw[:len(raw)+n]
	}
}

// printable makes a name that a process chose fit for a report.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}

// Children lists the children of a process, those of all its threads. Without children files
// in /proc (CONFIG_PROC_CHILDREN) all processes are looked at.
func Children(pid int) []int {
	entries, err := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/task")
	if err != nil {
		return childrenByParent(pid)
	}
	threads := make([]int, 0, len(entries))
	for _, e := range entries {
		if tid, err := strconv.Atoi(e.Name()); err == nil {
			threads = append(threads, tid)
		}
	}
	return ChildrenOf(pid, threads...)
}

// ChildrenOf lists the children of some threads of a process: those that a thread has forked. A
// process whose parent has gone is given to the first thread of a subreaper, which has the
// process's number, as long as that is alive (find_alive_thread in kernel/exit.c).
func ChildrenOf(pid int, threads ...int) []int {
	var pids []int
	for _, tid := range threads {
		list, err := ReadFile("/proc/" + strconv.Itoa(pid) + "/task/" + strconv.Itoa(tid) + "/children")
		if errors.Is(err, os.ErrNotExist) && tid == pid {
			return childrenByParent(pid)
		}
		for _, f := range strings.Fields(string(list)) {
			if child, err := strconv.Atoi(f); err == nil {
				pids = append(pids, child)
			}
		}
	}
	return pids
}

// childrenByParent looks at all processes there are, which takes its time: not for one that has
// gone, of which there are hundreds while a tree dies.
func childrenByParent(parent int) []int {
	if HasGone(unix.Access("/proc/"+strconv.Itoa(parent), unix.F_OK)) {
		return nil
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if st, err := ReadStat(pid); err == nil && st.PPID == parent {
			pids = append(pids, pid)
		}
	}
	return pids
}
