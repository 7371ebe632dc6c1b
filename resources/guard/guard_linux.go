package guard

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"curfew.example/resources/internal/cgroup"
	"curfew.example/resources/internal/proctree"
)

const (
	// askLag and killLag are how long after its time the guard does what the runtime has
	// not done. The runtime comes first, unless it cannot.
	askLag  = 20 * time.Millisecond
	killLag = 10 * time.Millisecond

	// The pause between two looks of a kill: short while the dying go, then longer, for
	// one that will not may stay for days.
	pauseFirst = 50 * time.Microsecond
	pauseMost  = 20 * time.Millisecond

	// urgentAfter is how long a kill may take before it is pressed.
	urgentAfter = 20 * time.Millisecond

	// boxWait bounds the wait for a cgroup that is not ours alone.
	boxWait = 100 * time.Millisecond
)

// watch is a guard at work. One goroutine uses it.
type watch struct {
	plan  *Plan
	words *words
	tree  proctree.Tree
	box   *cgroup.Group // nil without one

	child  int         // ours: the main process, or the init of its namespace
	main   int         // the main process; 0 when it is not known
	inside <-chan Word // of that init; nil, which brings nothing, where there is none
	begun  bool        // the main process runs, or has run
	ended  bool
	asked  bool      // a signal of the ladder has been sent
	rung   int       // the next of the ladder, if it is on us to climb
	kill   time.Time // when all is killed; zero is never
	killed bool
	timer  *time.Timer
}

// watchOver is a guard's life.
func watchOver(p *Plan, control *bufio.Reader, out *words) {
	w := &watch{plan: p, words: out, timer: time.NewTimer(time.Hour)}
	_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	passed, died := make(chan os.Signal, 32), make(chan os.Signal, 1)
	caught := make(chan struct{})
	// Each signal is handed to a thread of the runtime's and back. From the thread that this
	// goroutine is locked to that would be two threads' waking more. Received from caught.
	go func() {
		defer close(caught)
		catch(passed, died)
	}()
	<-caught

	w.tree.Probe()
	if err := w.start(); err != nil {
		out.say(Word{Failed: &Failed{Errno: int(errno(err)), NoNamespace: errors.Is(err, errNoNamespace)}})
		return
	}
	letGoOfStreams()
	w.tree.PlantHidden(os.Getpid())
	if w.plan.Namespace {
		w.tree.Hide(w.child)
	}
	w.tree.Look()
	if w.main != 0 {
		out.say(Word{Started: &Started{PID: w.main, Cgroup: w.box != nil}})
	}
	w.fixTimes()
	var urgent atomic.Bool
	w.tree.BreakOff = urgent.Load
	for orders := follow(control, &urgent); ; {
		select {
		case <-died:
			w.reap()
		case word, ok := <-w.inside:
			if !ok {
				w.inside = nil // it has ended, and will be reaped
				continue
			}
			w.hear(word)
		case sig, ok := <-orders:
			if !ok {
				w.finish() // the runtime has gone
				return
			}
			w.order(sig)
		case s := <-passed:
			w.pass(s.(syscall.Signal))
		case <-w.timer.C:
			w.tick()
		}
		if w.over() {
			return
		}
	}
}

// catch has the signals that are passed on sent to passed, and the deaths of children to died.
func catch(passed, died chan<- os.Signal) {
	for _, s := range passedOn() {
		// What was ignored at the start stays so, for the command: nohup(1).
		if !signal.Ignored(s) {
			signal.Notify(passed, s)
		}
	}
	// Caught and dropped, as to ignore it would be inherited.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	signal.Notify(died, syscall.SIGCHLD)
}

// passedOn lists the signals that are passed on to the command.
func passedOn() []os.Signal {
	return []os.Signal{
		syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT,
		syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH,
	}
}

// errNoNamespace says that it was the namespace that could not be made.
var errNoNamespace = errors.New("there is no namespace")

// start starts the command.
func (w *watch) start() error {
	if !w.plan.Namespace {
		pid, inside, err := w.plan.start()
		w.child, w.main, w.begun = pid, pid, true
		if inside {
			w.box = &cgroup.Group{Dir: string(w.plan.Cgroup)}
			w.tree.Members = w.box.Members
		}
		return err
	}
	pid, answer, err := w.plan.forkNamespace()
	if err != nil {
		return fmt.Errorf("%w: %w", errNoNamespace, err)
	}
	said := make(chan Word)
	w.child, w.inside = pid, said
	// Ends with the init, or with this process: nobody waits for it.
	go func() {
		defer close(said)
		for {
			word, err := ReadWord(answer)
			if err != nil {
				return
			}
			said <- word
		}
	}()
	return nil
}

// follow reads orders from the runtime, a signal's number each. It closes the channel when
// the runtime has gone. urgent is set when what comes next is the end of all: whatever is
// under way then may be broken off.
func follow(control *bufio.Reader, urgent *atomic.Bool) <-chan syscall.Signal {
	orders := make(chan syscall.Signal)
	// Ends with the runtime, or with this process: nobody waits for it.
	go func() {
		defer close(orders)
		for {
			b, err := control.ReadByte()
			urgent.Store(err != nil || syscall.Signal(b) == syscall.SIGKILL)
			if err != nil {
				return
			}
			orders <- syscall.Signal(b)
		}
	}()
	return orders
}

// hear takes a word of the init of the namespace. The numbers in it are the namespace's.
func (w *watch) hear(word Word) {
	switch {
	case word.Started != nil:
		for _, pid := range proctree.ChildrenOf(w.child, w.child) {
			w.main = pid
		}
		w.tree.Look()
		word.Started.PID = cmp.Or(w.main, w.child)
		w.begun = true
	case word.Exited != nil:
		w.ended = true
		w.tree.Reaped(w.main, w.killed)
	}
	w.words.say(word)
}

// fixTimes sets the timer by the deadline.
func (w *watch) fixTimes() {
	if w.plan.DeadlineNS == 0 {
		w.timer.Stop()
		return
	}
	left := time.Duration(w.plan.DeadlineNS - Now())
	w.killAfter(left)
	w.timer.Reset(max(0, left+askLag))
}

// killAfter has all killed when d and the grace are over, if not before.
func (w *watch) killAfter(d time.Duration) {
	at := time.Now().Add(d + killLag).Add(time.Duration(w.plan.GraceNS))
	if w.kill.IsZero() || at.Before(w.kill) {
		w.kill = at
	}
}

// Now is the clock of deadlines: CLOCK_MONOTONIC, the same in all processes.
func Now() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0
	}
	return ts.Nano()
}

// order does what the runtime says.
func (w *watch) order(sig syscall.Signal) {
	if sig == syscall.SIGKILL || !w.begun {
		w.finish() // what has not begun has nothing to put in order
		return
	}
	if !w.asked {
		w.asked = true
		// The runtime may be stopped between this and the kill.
		w.rung = len(w.plan.Ladder)
		w.killAfter(0)
		w.timer.Reset(time.Until(w.kill))
	}
	w.signal(sig)
}

// tick does what the runtime should have done.
func (w *watch) tick() {
	if !w.begun || !time.Now().Before(w.kill) {
		w.finish()
		return
	}
	next := w.kill
	if w.rung < len(w.plan.Ladder) {
		r := w.plan.Ladder[w.rung]
		w.rung, w.asked = w.rung+1, true
		w.signal(syscall.Signal(r.Signal))
		if after := time.Now().Add(time.Duration(r.WaitNS)); w.rung < len(w.plan.Ladder) && after.Before(next) {
			next = after
		}
	}
	w.timer.Reset(time.Until(next))
}

// signalLooks bounds how often a signal is sent to those that were forked meanwhile.
const signalLooks = 8

// signal sends sig to the whole tree, and lets the stopped go on so that they can act on it.
func (w *watch) signal(sig syscall.Signal) {
	group := w.group()
	w.tree.Look()
	w.tree.Round()
	w.tree.Signal(sig, group)
	if group != 0 {
		_ = unix.Kill(-group, sig)
		w.tree.Signal(sig, group) // those that left the group between the two
	}
	for range signalLooks {
		if !w.tree.Look() {
			break
		}
		w.tree.Signal(sig, group)
	}
	if sig != syscall.SIGSTOP {
		w.tree.Round()
		w.tree.Signal(syscall.SIGCONT, group)
		if group != 0 {
			_ = unix.Kill(-group, unix.SIGCONT)
		}
	}
}

// group is the command's process group, 0 when it is the runtime's too, or can no longer be
// told from a stranger's, because the main process has been reaped.
func (w *watch) group() int {
	if w.plan.Group != 0 || w.plan.Namespace || w.ended {
		return 0
	}
	return w.main
}

// pass passes on a signal that somebody sent to the guard.
func (w *watch) pass(sig syscall.Signal) {
	if w.main == 0 || w.ended {
		return
	}
	to := w.main
	switch sig {
	case syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT:
		if w.plan.Group == 0 {
			to = -w.main
		}
	}
	_ = unix.Kill(to, sig)
}

// reap waits for the children that have ended, and returns how many, and whether there are
// no others.
func (w *watch) reap() (reaped int, none bool) {
	for {
		var ws unix.WaitStatus
		var used unix.Rusage
		pid, err := unix.Wait4(-1, &ws, unix.WNOHANG, &used)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return reaped, true
		case pid == 0:
			return reaped, false
		}
		reaped++
		if pid != w.child || !w.plan.Namespace {
			w.tree.Reaped(pid, w.byUs(ws))
		}
		if pid != w.child {
			continue
		}
		for word := range w.lastWords() {
			w.hear(word)
		}
		if !w.ended {
			w.ended = true
			w.words.say(Word{Exited: exitedOf(ws, &used)})
		}
	}
}

// byUs reports whether a death was by us. The runtime kills a cgroup itself, when the main
// process has ended or its time is over, and its order may come after the deaths.
func (w *watch) byUs(ws unix.WaitStatus) bool {
	return (w.killed || w.asked || w.ended) && ws.Signaled() && ws.Signal() == unix.SIGKILL
}

// lastWords are those of an init that has ended.
func (w *watch) lastWords() <-chan Word {
	last := w.inside
	w.inside = nil
	if last == nil {
		none := make(chan Word)
		close(none)
		return none
	}
	return last
}

// over ends what the main process has left, when that has ended by itself, and reports
// whether the guard's work is done.
func (w *watch) over() bool {
	switch {
	case w.killed:
		return true
	case !w.ended:
		return false
	case w.asked:
		if _, none := w.reap(); !none {
			return false // they have what grace there is left
		}
	case w.plan.Leave:
		w.sayGone()
		return true
	}
	w.finish()
	return true
}

// finish kills all that is left, waits until there is nothing, and says so.
func (w *watch) finish() {
	w.killed, w.tree.BreakOff = true, nil
	urgent := time.Now().Add(urgentAfter)
	for pause := pauseFirst; ; {
		if !urgent.IsZero() && time.Now().After(urgent) {
			// They fork as fast as they are killed: who kills comes before those who fork, where
			// this user may say so. Not sooner, as it comes before those who die, too.
			_ = unix.Setpriority(unix.PRIO_PROCESS, 0, -20)
			urgent = time.Time{}
		}
		if w.box != nil {
			_ = w.box.Kill()
		}
		for _, pid := range proctree.ChildrenOf(os.Getpid(), os.Getpid()) {
			// A child of ours is not reaped but by us, so the number is its own.
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		reaped, none := w.reap()
		if none {
			break
		}
		if reaped > 0 {
			pause = pauseFirst
			continue
		}
		if pause > time.Millisecond {
			// A child does not go. Its own children do not become ours before it has.
			w.tree.Look()
			w.tree.Round()
			w.tree.Signal(unix.SIGKILL, 0)
		}
		time.Sleep(pause)
		pause = min(2*pause, pauseMost)
	}
	if w.box != nil {
		_ = w.box.RemoveWithin(boxWait)
	}
	w.sayGone()
}

func (w *watch) sayGone() {
	seen, killed, _ := w.tree.Count()
	w.words.say(Word{Gone: &Gone{Seen: seen, Killed: killed}})
}
