package resources

import (
	"context"
	"errors"
	"os/exec"
	"syscall"
	"time"
)

// killer reaches the processes of one command: it starts the main one, signals them all,
// sees whether they are there, and says how the main one ended. It stands between the
// ladder and what the operating system offers: process groups, cgroups, guards.
//
// start is called first, again only after it has failed. Many goroutines may call the others
// at once after it.
type killer interface {
	// name names the means, for receipts: how the processes are reached, and "+guard" if a
	// guard watches over them. After start it is what is in use.
	name() string

	// watchdog names who ends the command when its time is over.
	watchdog() string

	// start starts what build makes, anew at each call. It returns when the program runs,
	// with the error that the operating system has about the program, or when ctx has
	// ended: it may then run, or come to run, all the same.
	start(ctx context.Context, build func() *exec.Cmd) error

	// pid is the number of the main process; 0 is unknown.
	pid() int

	// exited is closed when the main process has ended. Its number may not have been
	// given back by then.
	exited() <-chan struct{}

	// signal sends sig to all that can be reached, and lets the stopped go on so that
	// they can act on it. Who has gone is no error; who may not be signalled turns
	// up in left.
	signal(sig syscall.Signal)

	// leave lets go of what the main process, which has ended, has left.
	leave()

	// gone returns true when nothing is left and the main process has been reaped, or
	// false when ctx ended first.
	gone(ctx context.Context) bool

	// left lists what is there now, by PID, start and state.
	left() []Leftover

	// reap returns how the main process ended, nil when it has not. After it nothing is
	// reached any more by the number of the main process or its group, which may soon be
	// somebody else's.
	reap() *exitStatus

	// count says how many processes were seen, how many of those were signalled and
	// have gone, and how many are there.
	count() (seen, killed, left int)
}

// exitStatus is how a main process ended.
type exitStatus struct {
	code         int    // -1 when it was ended by a signal
	signal       string // without SIG; empty when it exited
	user, system time.Duration
	maxRSSBytes  int64
	err          error // it cannot be told, for this reason
}

// ErrNotContained is what a StartError wraps when the Containment that was asked for is not
// to be had here, or a guard could not be started. The program itself was not tried.
var ErrNotContained = errors.New("it cannot be contained as it should be")

// The values of Command.Containment.
const (
	containCgroupGuard = "cgroup+guard"
	containGuard       = "guard"
	containNamespace   = "namespace+guard"
	containCgroup      = "cgroup"
	containGroup       = "group"
)

// containments lists them, without the empty one.
func containments() []string {
	return []string{containCgroupGuard, containGuard, containNamespace, containCgroup, containGroup}
}

// within waits for c to be closed, and reports whether it was by the time that ctx ended.
func within(ctx context.Context, c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	case <-ctx.Done():
		return isClosed(c)
	}
}

// poll calls look until it says yes, at growing intervals; once more after ctx has ended.
func poll(ctx context.Context, look func() bool) bool {
	for pause := 200 * time.Microsecond; ; pause = min(2*pause, 10*time.Millisecond) {
		last := ctx.Err() != nil
		if look() {
			return true
		}
		if last {
			return false
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}
