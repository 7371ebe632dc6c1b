package resources

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"curfew.example/resources/guard"
	"curfew.example/resources/internal/cgroup"
	"curfew.example/resources/internal/proctree"
)

// orderWait bounds the writing of an order into a pipe that nobody empties.
const orderWait = 100 * time.Millisecond

// errGuardLost is what a command returns whose guard was ended by somebody else. What the
// guard watched over has been killed, as far as it was known.
var errGuardLost = errors.New("its guard has been ended from outside")

// guardKiller reaches a command through its guard: see package guard. What the guard says is
// foreign to this process, and may lie about the command, but not about who is there: as long
// as the guard has not ended and said that all have gone, they have not.
//
// What it knows of the tree by itself is for leftovers, and for a guard that has been killed.
type guardKiller struct {
	program  string
	cgroups  *cgroup.Parent // nil: none are made
	demanded bool           // the cgroup is not to be done without
	plan     guard.Plan     // without what start adds
	process  *os.Process    // the guard
	control  *os.File       // signals to it; its end says that this process has gone
	alone    int            // how many kills are left to it: see guardKills
	running  chan struct{}  // closed when the program runs, or will not
	over     chan struct{}  // closed when the main process has ended
	ended    chan struct{}  // closed when the guard has ended and has been reaped

	mu       treeLock
	tree     proctree.Tree
	box      *cgroup.Group // nil without one
	main     int
	startErr error
	status   *exitStatus
	last     *guard.Gone // nil until it has said so
	kills    int         // how often all of it was sent a KILL
}

func (k *guardKiller) watchdog() string { return "guard" }

func (k *guardKiller) name() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.plan.Namespace:
		return containNamespace
	case k.cgroups != nil:
		return containCgroupGuard
	}
	return containGuard
}

func (k *guardKiller) start(ctx context.Context, build func() *exec.Cmd) error {
	k.running, k.over, k.ended = make(chan struct{}), make(chan struct{}), make(chan struct{})
	k.startErr, k.status, k.main = nil, nil, 0
	words, err := k.launch(build())
	if err != nil {
		k.unbox()
		return err
	}
	// Ends with the guard, which ends when all that it watches over has. gone waits for
	// that, or it is a leftover.
	go k.listen(words)
	select {
	case <-k.running:
	case <-ctx.Done():
		return nil
	}
	k.mu.Lock()
	err = k.startErr
	k.mu.Unlock()
	if err != nil {
		<-k.ended // at once: it watches over nothing
		k.unbox()
	}
	return err
}

// launch starts the guard of cmd and tells it what to do.
func (k *guardKiller) launch(cmd *exec.Cmd) (words *os.File, err error) {
	plan, err := k.planOf(cmd)
	if err != nil {
		return nil, err
	}
	controlR, control, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer controlR.Close()
	words, wordsW, err := os.Pipe()
	if err != nil {
		_ = control.Close()
		return nil, err
	}
	defer wordsW.Close()
	g := exec.Cmd{
		Path: k.program, Args: []string{guard.Name, filepath.Base(cmd.Path)},
		Stdin: cmd.Stdin, Stdout: cmd.Stdout, Stderr: cmd.Stderr,
		ExtraFiles:  []*os.File{controlR, wordsW},
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true},
	}
	if err := g.Start(); err != nil {
		_, _ = control.Close(), words.Close()
		// Not the program's error, which would say that there is no such program.
		return nil, fmt.Errorf("%w: its guard does not start: %v", ErrNotContained, bare(err))
	}
	k.process, k.control = g.Process, control
	k.tree.PlantHidden(g.Process.Pid)
	// A guard that does not read is one that will be lost, at the latest when it is killed.
	_ = control.SetWriteDeadline(time.Now().Add(planWait))
	_, _ = control.Write(plan.Encode())
	return words, nil
}

// guardKills is how many kills, each killAgain after the one before, are left to the guard before
// the runtime kills too: one less where the force, if it is not zero, would be over by then.
func guardKills(force time.Duration) int {
	if force > 0 && forceWait(force) < 3*killAgain {
		return 1
	}
	return 2
}

// planWait bounds the time in which a guard must have begun to read.
const planWait = 10 * time.Second

// planOf is the plan for cmd, with a new cgroup.
func (k *guardKiller) planOf(cmd *exec.Cmd) (*guard.Plan, error) {
	plan := k.plan
	plan.Path, plan.Args, plan.Env = []byte(cmd.Path), guard.Bytes(cmd.Args), guard.Bytes(cmd.Environ())
	plan.Dir = []byte(cmd.Dir)
	if k.cgroups == nil {
		return &plan, nil
	}
	made, err := k.cgroups.New()
	switch {
	case err == nil:
		k.box, plan.Cgroup = made, []byte(made.Dir)
		k.tree.Members = made.Members
	case k.demanded:
		return nil, ErrNotContained
	default:
		k.forgetCgroups()
	}
	return &plan, nil
}

func (k *guardKiller) forgetCgroups() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.cgroups = nil
}

// unbox removes the cgroup where there is no guard that would.
func (k *guardKiller) unbox() {
	if k.box != nil {
		_ = k.box.RemoveWithin(boxWait)
	}
}

// listen takes what the guard says until that has ended. Now and then it looks at the tree.
func (k *guardKiller) listen(words *os.File) {
	r := guard.NewReader(words)
	for pause := lookFirst; ; {
		_ = words.SetReadDeadline(time.Now().Add(pause))
		word, err := guard.ReadWord(r)
		switch {
		case err == nil:
			k.hear(word)
			continue
		case errors.Is(err, os.ErrDeadlineExceeded):
			pause = min(2*pause, lookEvery)
			k.mu.look(&k.tree)
			continue
		}
		_ = words.Close()
		k.end()
		return
	}
}

// hear takes one word.
func (k *guardKiller) hear(w guard.Word) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case w.Started != nil:
		k.main = w.Started.PID
		k.hideInit()
		if k.box != nil && !w.Started.Cgroup {
			// The kernel would not have it there: it goes on without.
			_ = k.box.Remove()
			k.box, k.tree.Members, k.cgroups = nil, nil, nil
		}
		shut(k.running)
	case w.Failed != nil:
		k.startErr = syscall.Errno(w.Failed.Errno)
		if w.Failed.NoNamespace {
			// Not the program's error, as with a guard that does not start.
			k.startErr = fmt.Errorf("%w: no namespace can be made: %v", ErrNotContained, k.startErr)
		}
	case w.Exited != nil:
		k.status = statusOf(w.Exited)
		shut(k.over)
	case w.Gone != nil:
		k.last = w.Gone
	}
}

// hideInit says of the first process of a namespace, the guard's only child, that it is part
// of the guard and not of the command's tree.
func (k *guardKiller) hideInit() {
	if !k.plan.Namespace {
		return
	}
	for _, pid := range proctree.ChildrenOf(k.process.Pid, k.process.Pid) {
		k.tree.Hide(pid)
	}
}

func statusOf(e *guard.Exited) *exitStatus {
	s := &exitStatus{code: e.Code, user: time.Duration(e.UserNS), system: time.Duration(e.SystemNS), maxRSSBytes: e.MaxRSSBytes}
	if e.Signal != 0 {
		s.signal = SignalName(syscall.Signal(e.Signal))
	}
	return s
}

// shut closes c once. The caller sees to it that nobody else does at the same time.
func shut(c chan struct{}) {
	if !isClosed(c) {
		close(c)
	}
}

// end is what is left to do when the guard has closed its pipe: it is ending.
func (k *guardKiller) end() {
	state, _ := k.process.Wait()
	_ = k.control.Close()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.last == nil && k.startErr == nil {
		k.lost(state)
	}
	shut(k.running)
	shut(k.over)
	close(k.ended)
}

// lost says how a command ended whose guard somebody has ended.
func (k *guardKiller) lost(state *os.ProcessState) {
	if k.status != nil {
		return // the main process had ended before
	}
	k.status = &exitStatus{code: -1, err: errGuardLost}
	if state == nil {
		return
	}
	if k.main == 0 && state.Exited() {
		k.startErr = errors.New("its guard does not take part: it has to call guard.Main first")
	} else if k.main == 0 {
		// It stood in for a program that had not begun, and was ended like one.
		k.status = exitOf(state)
	}
}

func (k *guardKiller) pid() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.main
}

func (k *guardKiller) exited() <-chan struct{} { return k.over }

func (k *guardKiller) signal(sig syscall.Signal) {
	if sig == 0 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	ended := isClosed(k.ended)
	if !ended && k.kills == 0 {
		// Before all else: what the guard is at now takes time from the kill.
		_ = k.control.SetWriteDeadline(time.Now().Add(orderWait))
		_, _ = k.control.Write([]byte{byte(sig)})
	}
	if sig == syscall.SIGKILL {
		k.kills++
		if k.box != nil {
			_ = k.box.Kill()
		}
	}
	if ended || k.kills > k.alone {
		// There is no guard any more; or it does not get on with it, because somebody
		// stops it, say. Before that it is left to it: two are in each other's way.
		if k.last == nil {
			k.tree.Look()
			k.tree.Round()
			k.tree.Signal(sig, 0)
		}
		if k.main == 0 && sig == syscall.SIGKILL {
			_ = k.process.Kill() // it has not begun, and may be no guard at all
		}
	}
	if !ended {
		_ = k.process.Signal(syscall.SIGCONT)
	}
}

// leave waits a moment for the guard, which leaves too.
func (k *guardKiller) leave() {
	select {
	case <-k.ended:
	case <-time.After(finishWait):
	}
}

func (k *guardKiller) gone(ctx context.Context) bool {
	if !within(ctx, k.ended) {
		return false
	}
	return poll(ctx, func() bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		return k.empty()
	})
}

// empty reports whether nothing is left. The guard has ended.
func (k *guardKiller) empty() bool {
	if k.last != nil {
		return true
	}
	k.tree.Look()
	if k.tree.Alive() || (k.box != nil && k.box.Populated()) {
		return false
	}
	k.unbox()
	return true
}

func (k *guardKiller) left() []Leftover {
	k.mu.Lock()
	defer k.mu.Unlock()
	if isClosed(k.ended) && k.empty() {
		return nil
	}
	k.tree.Look()
	if left := leftoversOf(k.tree.Left()); len(left) > 0 {
		return left
	}
	if isClosed(k.ended) {
		return nil
	}
	return []Leftover{{What: "guard " + strconv.Itoa(k.process.Pid), Why: "has not said that all have gone", PID: k.process.Pid}}
}

func (k *guardKiller) reap() *exitStatus {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.status
}

func (k *guardKiller) count() (seen, killed, left int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.last != nil {
		return k.last.Seen, k.last.Killed, 0
	}
	return k.tree.Count()
}
