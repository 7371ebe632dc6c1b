package resourcetest

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// openThings lists the process's descriptors and children.
func openThings() map[thing]string {
	all := make(map[thing]string)
	addDescriptors(all)
	addChildren(all)
	return all
}

func addDescriptors(all map[thing]string) {
	const dir = "/proc/self/fd"
	wakePoller()
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		// The listing's own descriptor has gone by now, and so has no target.
		if target, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil && !isSplicePipe(e.Name(), target) {
			all[thing{"descriptor " + e.Name(), target}] = target
		}
	}
}

// isSplicePipe reports whether the descriptor is an end of one of the pipes through
// which package net moves bytes between sockets. They are pooled until the garbage
// collector comes, and told by their size: see internal/poll/splice_linux.go.
func isSplicePipe(number, target string) bool {
	const spliceSize = 1 << 20
	fd, err := strconv.Atoi(number)
	if err != nil || !strings.HasPrefix(target, "pipe:") {
		return false
	}
	size, err := unix.FcntlInt(uintptr(fd), unix.F_GETPIPE_SZ, 0)
	return err == nil && size == spliceSize
}

// wakePoller makes the Go runtime open the descriptors of its network poller, which
// would otherwise be charged to the first test that waits for something.
func wakePoller() {
	if r, w, err := os.Pipe(); err == nil {
		_ = r.Close()
		_ = w.Close()
	}
}

// addChildren finds the processes, dead ones included, whose parent is this one.
func addChildren(all map[thing]string) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		line, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		if c := parseStat(string(line)); c.parent == os.Getpid() {
			all[thing{"process " + filepath.Base(filepath.Dir(path)), c.start}] = c.name + ", state " + c.state
		}
	}
}

// stat is what is read of /proc/PID/stat: see proc(5).
type stat struct {
	name, state, start string
	parent             int
}

// parseStat reads "pid (name) state ppid …", where a name may hold anything.
func parseStat(line string) stat {
	open, end := strings.IndexByte(line, '('), strings.LastIndexByte(line, ')')
	if open < 0 || end < open {
		return stat{}
	}
	fields := strings.Fields(line[end+1:])
	if len(fields) < 20 {
		return stat{}
	}
	parent, _ := strconv.Atoi(fields[1])
	return stat{name: line[open+1 : end], state: fields[0], start: fields[19], parent: parent}
}
