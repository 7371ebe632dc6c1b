//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package resources

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"curfew.example/resources/internal/proctree"
)

var errNotDir error = unix.ENOTDIR

// processGroup reaches a command by its process group and by what has been seen of its
// tree: setpgid, kill(2) of the negative number, and on Linux the children files of /proc;
// and by a box, if it has one, which holds all of them.
//
// The group's number is the main process's. It cannot be given to anybody else while
// that has not been reaped, or while the group has members. So the main process is
// reaped last, and the group is never signalled after it.
type processGroup struct {
	shared bool // the caller's group: it must not be signalled as a whole
	limits func(pid int) error
	main   *os.Process
	ended  chan struct{}

	newBox   func() (box, error) // nil without one
	demanded bool                // it is not to be done without

	mu     treeLock
	box    box // nil without one
	tree   proctree.Tree
	killed bool             // KILL was sent to all
	state  *os.ProcessState // of the main process, once reaped
}

// box holds processes that can be killed together.
type box interface {
	Attach(*syscall.SysProcAttr) (done func(), err error) // has a new process begin in it
	Kill() error
	Populated() bool
	Members() []int
	RemoveWithin(time.Duration) error
}

// treeLock is the lock of a tree.
type treeLock struct {
	sync.Mutex
	wanted atomic.Int32 // by how many
}

func (l *treeLock) Lock() {
	l.wanted.Add(1)
	l.Mutex.Lock()
	l.wanted.Add(-1)
}

// look has the tree look about for as long as nobody else wants the lock: a signal is not to
// wait until hundreds of processes have been read.
func (l *treeLock) look(t *proctree.Tree) {
	l.Lock()
	defer l.Unlock()
	l.makeWay(t)
	t.Look()
	t.BreakOff = nil
}

// makeWay has the tree's looks broken off from now on when somebody wants the lock, which is held.
func (l *treeLock) makeWay(t *proctree.Tree) {
	t.BreakOff = func() bool { return l.wanted.Load() > 0 }
}

// boxWait is how long a box whose processes have all gone may take to go itself.
const boxWait = 50 * time.Millisecond

// newGroup returns the killer that every system has.
func newGroup(foreground bool) *processGroup {
	g := &processGroup{shared: foreground, ended: make(chan struct{})}
	g.tree.Probe()
	return g
}

func (g *processGroup) watchdog() string { return "runtime" }

func (g *processGroup) name() string {
	switch {
	case g.newBox != nil:
		return containCgroup
	case g.shared && g.tree.Works():
		return "children"
	case g.shared:
		return "process"
	case g.tree.Works():
		return "group+children"
	}
	return "group"
}

func (g *processGroup) start(ctx context.Context, build func() *exec.Cmd) error {
	cmd := build()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: !g.shared}
	err := g.launch(cmd)
	if err != nil && g.newBox != nil && !g.demanded {
		// The kernel may refuse the box, and may not: without it the same error
		// tells that it was the program.
		g.newBox = nil
		return g.start(ctx, build)
	}
	if err != nil {
		return err
	}
	g.main = cmd.Process
	g.tree.Plant(g.main.Pid, g.ended)
	// Ends with the main process: Run waits for that, or it is a leftover.
	go g.watch()
	if g.limits == nil || g.limits(g.main.Pid) == nil || isClosed(g.ended) {
		return nil
	}
	g.signal(syscall.SIGKILL)
	g.gone(ctx)
	return errNoLimits
}

// errNoLimits is what a start returns when the limits of the processes could not be set.
var errNoLimits = errors.New("its resource limits could not be set")

// launch starts cmd, in a box if there are any.
func (g *processGroup) launch(cmd *exec.Cmd) error {
	if g.newBox == nil {
		return cmd.Start()
	}
	box, err := g.newBox()
	if err != nil {
		return ErrNotContained
	}
	done, err := box.Attach(cmd.SysProcAttr)
	if err == nil {
		err = cmd.Start()
		done()
	}
	if err != nil {
		_ = box.RemoveWithin(boxWait)
		return err
	}
	g.box, g.tree.Members = box, box.Members
	return nil
}

func (g *processGroup) pid() int {
	if g.main == nil {
		return 0
	}
	return g.main.Pid
}

// leave has nothing to let go of.
func (g *processGroup) leave() {}

// watch looks at the tree from time to time, so that those are known whose parents go
// later, until the main process has ended.
func (g *processGroup) watch() {
	defer close(g.ended)
	awaitExit(g.main.Pid, func() { g.mu.look(&g.tree) })
	g.mu.Lock()
	g.tree.RootEnded()
	g.mu.Unlock()
}

func (g *processGroup) exited() <-chan struct{} { return g.ended }

func (g *processGroup) signal(sig syscall.Signal) {
	if sig == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if sig == syscall.SIGCONT {
		g.send(sig)
		return
	}
	g.freeze()
	g.send(sig)
	if sig != syscall.SIGKILL && sig != syscall.SIGSTOP {
		g.send(syscall.SIGCONT)
	}
}

// group is the number of the group, 0 when it must not be signalled as a whole.
func (g *processGroup) group() int {
	if g.shared || g.state != nil {
		return 0
	}
	return g.main.Pid
}

// freezeLooks bounds how often freeze looks for more: what forks faster gets away.
const freezeLooks = 8

// freeze stops all that can be reached. A process with a signal pending cannot fork, so
// what it has started is seen while its parent is there, and cannot slip out of the
// group, and of the tree, at the moment when that is signalled.
func (g *processGroup) freeze() {
	if !g.tree.Works() {
		return
	}
	group := g.group()
	if group != 0 {
		_ = unix.Kill(-group, unix.SIGSTOP)
	}
	g.tree.Round()
	for i := range freezeLooks {
		more := g.tree.Look()
		if !more && (i > 0 || !g.tree.Alive()) { // who has ended has no children to be seen
			return
		}
		g.tree.Signal(unix.SIGSTOP, group)
	}
}

// send sends sig to those outside the group one by one, to the group as a whole, and
// then to those that left the group between the two.
func (g *processGroup) send(sig syscall.Signal) {
	g.killed = g.killed || sig == syscall.SIGKILL
	if sig == syscall.SIGKILL && g.box != nil {
		_ = g.box.Kill()
	}
	group := g.group()
	g.tree.Round()
	g.tree.Signal(sig, group)
	if group != 0 {
		_ = unix.Kill(-group, sig)
		g.tree.Signal(sig, group)
	}
	if sig == syscall.SIGKILL || (g.shared && !g.tree.Works()) {
		// It may have left its group. The handle guards against a reaped number.
		_ = g.main.Signal(sig)
	}
}

func (g *processGroup) gone(ctx context.Context) bool {
	if !within(ctx, g.ended) {
		return false
	}
	return poll(ctx, func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.mu.makeWay(&g.tree)
		defer func() { g.tree.BreakOff = nil }()
		return g.empty()
	})
}

// empty reports whether nothing is left, and then reaps the main process.
func (g *processGroup) empty() bool {
	if !isClosed(g.ended) {
		return false
	}
	if g.killed && g.box != nil && !g.box.Populated() {
		g.tree.Members = nil // nobody can come into it any more
	}
	g.tree.Look() // at those outside of the box too, whoever is in it
	if g.tree.BrokenOff() || g.tree.Alive() || !g.groupEmpty() || (g.box != nil && g.box.Populated()) {
		return false
	}
	g.reapLocked()
	if g.box != nil {
		_ = g.box.RemoveWithin(boxWait) // if it will not, the next start of a runtime does
		g.box = nil
	}
	return true
}

// groupEmpty reports whether the group has no living member. The main process has ended.
func (g *processGroup) groupEmpty() bool {
	if g.shared {
		return true
	}
	if g.state == nil && (g.killed || !g.tree.Works()) {
		// KILL takes all members at once, with the forks under way. After it the
		// group needs no other signal, so the main process may be reaped, and
		// without it the kernel says exactly whether there is another member. Where
		// members cannot be listed this is the only way to know, at the price of
		// what grace they had left.
		_ = unix.Kill(-g.main.Pid, syscall.SIGKILL)
		g.killed = true
		g.reapLocked()
	}
	if g.state != nil && errors.Is(unix.Kill(-g.main.Pid, 0), unix.ESRCH) {
		return true
	}
	if !g.tree.Works() {
		return false
	}
	return g.tree.Adopt(g.main.Pid, g.state != nil) && !g.tree.Alive()
}

func (g *processGroup) left() []Leftover {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.main == nil || g.empty() {
		return nil
	}
	g.tree.Look()
	if left := g.tree.Left(); len(left) > 0 {
		return leftoversOf(left)
	}
	return []Leftover{{
		What: "process of group " + strconv.Itoa(g.main.Pid),
		Why:  "there is one still, which cannot be told more closely",
	}}
}

// leftoversOf says of processes that they are left.
func leftoversOf(there []proctree.Process) []Leftover {
	var left []Leftover
	for _, p := range there {
		what := "process"
		if p.Name != "" {
			what += " " + p.Name
		}
		left = append(left, Leftover{What: what, Why: p.Why, PID: p.PID, Start: p.Start, State: p.State})
	}
	return left
}

func (g *processGroup) reap() *exitStatus {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.main != nil && isClosed(g.ended) {
		g.reapLocked()
	}
	if g.state == nil {
		return nil
	}
	return exitOf(g.state)
}

// reapLocked returns at once: the main process has ended.
func (g *processGroup) reapLocked() {
	if g.state == nil {
		g.state, _ = g.main.Wait()
	}
}

func (g *processGroup) count() (seen, killed, left int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.tree.Count()
}

// exitOf tells an exit code from a signal.
func exitOf(st *os.ProcessState) *exitStatus {
	s := &exitStatus{code: st.ExitCode(), user: st.UserTime(), system: st.SystemTime(), maxRSSBytes: maxRSSBytes(st)}
	if ws, ok := st.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		s.code, s.signal = -1, SignalName(ws.Signal())
	}
	return s
}

// lookPath finds the program as execvp(3) does: a file that may not be executed is
// remembered, and reported when there is no other.
func (c Command) lookPath() (string, error) {
	if strings.Contains(c.Path, "/") {
		return c.Path, nil
	}
	err := exec.ErrNotFound
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if dir == "" {
			dir = "."
		}
		file := dir + "/" + c.Path
		switch found := executable(file); {
		case found == nil && !filepath.IsAbs(dir):
			return "", exec.ErrDot
		case found == nil:
			return file, nil
		case errors.Is(found, fs.ErrPermission):
			err = found
		}
	}
	return "", err
}

// executable is nil, or why file cannot be executed. A directory may not be.
func executable(file string) error {
	info, err := os.Stat(file)
	if err != nil {
		return bare(err)
	}
	if info.IsDir() || info.Mode()&0o111 == 0 {
		return unix.EACCES
	}
	return unix.Access(file, unix.X_OK)
}

func isTextBusy(err error) bool { return errors.Is(err, unix.ETXTBSY) }

// signalNumber knows a signal by its full name: 0 is unknown.
func signalNumber(name string) syscall.Signal { return unix.SignalNum(name) }

// signalName is the full name of a signal; empty is unknown.
func signalName(sig syscall.Signal) string { return unix.SignalName(sig) }
