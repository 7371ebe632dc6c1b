package family

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"

	"golang.org/x/sys/unix"

	"curfew.example/resources"
	"curfew.example/resources/guard"
)

// sweepPause is how long a sweep waits for the killed before it looks again.
const sweepPause = 2 * time.Millisecond

// Family is the children of this process. Many goroutines may use it.
type Family struct {
	mu     sync.Mutex
	before map[identity]bool // there before us: inherited by an exec, and none of ours
	main   identity          // the command's main process, once it was seen
}

// identity tells processes apart for as long as the machine is up: numbers are used again.
type identity struct {
	pid   int
	start uint64 // clock ticks after boot
}

// child is what /proc/PID/stat says of a child: see proc_pid_stat(5).
type child struct {
	identity
	name  string
	state byte
}

// Adopt makes this process the one that orphaned descendants are given to, and begins to
// look after the children that come from now on. Call it before the command is started.
func Adopt() *Family {
	f := &Family{before: make(map[identity]bool)}
	_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) // as before Linux 3.4: no orphans will come
	for _, c := range children() {
		f.before[c.identity] = true
	}
	return f
}

// Main returns the command's main process, nil when it has not been started yet or has
// been waited for.
func (f *Family) Main() *os.Process {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ours()
	if f.main.pid == 0 {
		return nil
	}
	// The handle is a pidfd: if it is the main process's now, it stays so.
	p, err := os.FindProcess(f.main.pid)
	if c, there := readChild(f.main.pid); err != nil || !there || c.identity != f.main {
		return nil
	}
	return p
}

// Reap waits for adopted children that have ended. The main process is waited for by
// whoever started it.
func (f *Family) Reap() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.ours() {
		// Adopted within the clock tick in which the main process began, it cannot be
		// told from it. The sweep will wait for it.
		if c.state == 'Z' && c.start != f.main.start {
			_, _ = unix.Wait4(c.pid, nil, unix.WNOHANG, nil)
		}
	}
}

// Sweep kills all children that have come since Adopt, and those that they leave behind,
// until there are none or ctx ends. Guards are spared: one that is there still waits for what
// would not go, and goes with it. Call it when nobody else waits for a child any more.
func (f *Family) Sweep(ctx context.Context) Swept {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := Swept{}
	killed := make(map[identity]bool)
	for {
		there := slices.DeleteFunc(f.ours(), isGuard)
		for _, c := range there {
			if c.state == 'Z' {
				_, _ = unix.Wait4(c.pid, nil, unix.WNOHANG, nil)
			} else if !killed[c.identity] {
				killed[c.identity] = true
				// Not reaped, so the number is its own still.
				_ = unix.Kill(c.pid, unix.SIGKILL)
			}
		}
		if len(there) == 0 || !pause(ctx) {
			s.Seen = len(killed)
			s.Left = leftovers(slices.DeleteFunc(f.ours(), isGuard))
			s.Killed = s.Seen - len(s.Left)
			return s
		}
	}
}

// isGuard reports whether c is this program as a guard: see package guard.
func isGuard(c child) bool {
	dir := "/proc/" + strconv.Itoa(c.pid)
	args, err := os.ReadFile(dir + "/cmdline")
	if err != nil || !bytes.HasPrefix(args, []byte(guard.Name+"\x00")) {
		return false
	}
	self, err1 := os.Stat(guard.Self)
	its, err2 := os.Stat(dir + "/exe")
	return err1 == nil && err2 == nil && os.SameFile(self, its)
}

// pause reports whether there is time for another look.
func pause(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(sweepPause):
		return true
	}
}

func leftovers(there []child) []resources.Leftover {
	var left []resources.Leftover
	for _, c := range there {
		if c.state == 'Z' {
			continue
		}
		left = append(left, resources.Leftover{
			What:  "process " + c.name,
			Why:   "has not ended though it was killed",
			PID:   c.pid,
			Start: fmt.Sprintf("%d ticks after boot", c.start),
			State: string(c.state),
		})
	}
	return left
}

// ours lists the children that have come since Adopt. The first time there is one, the
// oldest is the main process: all others descend from it.
func (f *Family) ours() []child {
	var list []child
	var oldest identity
	for _, c := range children() {
		if f.before[c.identity] {
			continue
		}
		list = append(list, c)
		if oldest.pid == 0 || c.start < oldest.start || (c.start == oldest.start && c.pid < oldest.pid) {
			oldest = c.identity
		}
	}
	if f.main.pid == 0 {
		f.main = oldest
	}
	return list
}

// children lists the children of this process, of all its threads. On a kernel without
// these files (CONFIG_PROC_CHILDREN) there are none to be seen.
func children() []child {
	const tasks = "/proc/self/task"
	threads, err := os.ReadDir(tasks)
	if err != nil {
		return nil
	}
	var list []child
	for _, t := range threads {
		pids, err := os.ReadFile(tasks + "/" + t.Name() + "/children")
		if err != nil {
			continue
		}
		for _, field := range strings.Fields(string(pids)) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				continue
			}
			if c, ok := readChild(pid); ok {
				list = append(list, c)
			}
		}
	}
	return list
}

var errBadStat = errors.New("unreadable process status")

// printable makes a name that a process chose fit for a terminal.
func printable(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return '?'
}

// readChild reads the status of a child; false when it is none, or has gone.
func readChild(pid int) (child, bool) {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return child{}, false
	}
	c, parent, err := parseStat(raw)
	c.pid = pid
	return c, err == nil && parent == syscall.Getpid()
}

// parseStat takes "PID (NAME) STATE PPID …" apart. The name may hold anything, brackets too.
func parseStat(raw []byte) (c child, parent int, err error) {
	open, end := bytes.IndexByte(raw, '('), bytes.LastIndexByte(raw, ')')
	if open < 0 || end < open {
		return c, 0, errBadStat
	}
	const first = 3 // number of the first field after the name
	fields := strings.Fields(string(raw[end+1:]))
	if len(fields) <= 22-first {
		return c, 0, errBadStat
	}
	c.name = strings.Map(printable, string(raw[open+1:end]))
	c.state = fields[0][0]
	if parent, err = strconv.Atoi(fields[4-first]); err != nil {
		return c, 0, err
	}
	c.start, err = strconv.ParseUint(fields[22-first], 10, 64)
	return c, parent, err
}
