//go:build unix

package gnutimeout

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"
)

// job is one command and its time. It is used by one goroutine, which does everything in
// turn: the number of the command is used only before the command has been waited for, so
// no signal reaches a process that happens to get the number next.
type job struct {
	*options
	name     string // of this program
	pid      int
	caught   *catch
	orphans  *orphans // nil where descendants are left alone
	limitC   <-chan time.Time
	killC    <-chan time.Time
	timedOut bool
	deaf     map[os.Signal]bool // sent to our own group, so not to be passed on
}

func newJob(name string, o *options) *job {
	return &job{options: o, name: name, deaf: make(map[os.Signal]bool)}
}

// run runs the command and returns the exit code.
func (j *job) run() int {
	if !j.foreground {
		_ = syscall.Setpgid(0, 0) // refused to a leader of a session, who leads a group anyway
		j.orphans = adopt()
	}
	j.caught = newCatch(j.signal)
	// The kernel tells the command that its parent is dead when this thread is.
	runtime.LockOSThread()
	pid, err := asOnEntry(func() (int, error) { return start(j.command, diesWith(j.signal)) })
	if err != nil {
		return j.cannotStart(err)
	}
	j.pid = pid
	j.caught.started()
	if j.limit > 0 {
		j.limitC = time.After(j.limit)
	}
	return j.end(j.wait())
}

func (j *job) cannotStart(err error) int {
	switch err {
	case syscall.EAGAIN, syscall.EMFILE, syscall.ENFILE:
		j.sayf("fork system call failed: %s", reason(err))
		return codeFailed
	}
	j.sayf("failed to run command %s: %s", quote(j.command[0]), reason(err))
	if err == syscall.ENOENT {
		return codeNotFound
	}
	return codeCannotInvoke
}

// wait passes signals on until the command has ended.
func (j *job) wait() syscall.WaitStatus {
	for {
		select {
		case <-j.caught.child:
		case sig := <-j.caught.signals:
			j.pass(sig)
		case <-j.limitC:
			j.expire()
		case <-j.killC:
			j.expire()
		}
		if status, ended := j.reap(); ended {
			return status
		}
	}
}

// reap waits for children that have ended: the command, and those adopted, which only
// this process can wait for. It reports whether the command was among them.
func (j *job) reap() (status syscall.WaitStatus, ended bool) {
	which := j.pid
	if j.orphans != nil {
		which = -1
	}
	for {
		var s syscall.WaitStatus
		pid, err := syscall.Wait4(which, &s, syscall.WNOHANG, nil)
		switch {
		case err == syscall.EINTR:
		case err == syscall.ECHILD && !ended:
			j.sayf("error waiting for command: %s", reason(err))
			return syscall.WaitStatus(codeFailed << 8), true // exited with this code
		case err != nil || pid == 0:
			return status, ended
		case pid == j.pid:
			status, ended = s, true
			if which == pid {
				return status, true
			}
		}
	}
}

// pass passes a signal on that somebody has sent. SIGALRM says that the time is over.
func (j *job) pass(s os.Signal) {
	sig, ok := s.(syscall.Signal)
	switch {
	case !ok || j.deaf[s]:
	case sig == syscall.SIGALRM:
		j.expire()
	default:
		j.send(sig)
	}
}

// expire is called when the time is over, and again when that for a KILL is.
func (j *job) expire() {
	j.timedOut = true
	j.send(j.signal)
}

// send sends a signal to the command and its group. From the first one on runs the time
// after which it is killed; that the limit may come earlier is no mistake: it is the
// second signal then, and a KILL.
func (j *job) send(sig syscall.Signal) {
	if j.killAfter > 0 {
		j.signal = syscall.SIGKILL
		j.killC = time.After(j.killAfter)
		j.killAfter = 0
	}
	if j.verbose {
		j.sayf("sending signal %s to command %s", signalName(sig), quote(j.command[0]))
	}
	// The command may have gone into a group of its own.
	_ = syscall.Kill(j.pid, sig)
	switch {
	case j.foreground:
	case sig == syscall.SIGKILL:
		j.killGroup()
	case sig == syscall.SIGCONT:
		j.sendGroup(sig)
	default:
		j.sendGroup(sig)
		_ = syscall.Kill(j.pid, syscall.SIGCONT)
		j.sendGroup(syscall.SIGCONT)
	}
}

// sendGroup sends a signal to the group, this process included, which takes no notice of
// it from then on.
func (j *job) sendGroup(sig syscall.Signal) {
	j.deaf[sig] = true
	survive(sig)
	_ = syscall.Kill(0, sig)
}

// killGroup kills the group, and with it this process, so the descendants come first. The
// first process of a PID namespace (pid_namespaces(7)) survives, and has a command to wait for.
func (j *job) killGroup() {
	if os.Getpid() != 1 {
		j.sweep()
	}
	_ = syscall.Kill(0, syscall.SIGKILL)
}

// sweep kills the descendants that are left.
func (j *job) sweep() {
	if j.orphans == nil {
		return
	}
	for _, pid := range j.orphans.sweep() {
		j.sayf("left: process %d has not ended though it was killed", pid)
	}
}

// end returns the exit code for a command that has ended with status, or ends this process
// by the signal that has ended the command.
func (j *job) end(status syscall.WaitStatus) int {
	if j.timedOut {
		j.sweep()
	}
	code, preserve := status.ExitStatus(), j.preserve
	if status.Signaled() {
		sig := status.Signal()
		if status.CoreDump() {
			j.sayf("the monitored command dumped core")
		}
		if !j.timedOut {
			if err := dieOf(sig); err != nil {
				j.sayf("warning: disabling core dumps failed: %s", reason(err))
			}
		}
		// The command was killed, which is worth knowing.
		preserve = preserve || sig == syscall.SIGKILL
		code = codeSignal + int(sig)
	}
	if j.timedOut && !preserve {
		return codeTimedOut
	}
	return code
}

// sayf writes a message. Where nobody reads any more that is not said again: each attempt
// would be another SIGPIPE to pass on. The call is the system's as Go's own may end the
// process then.
func (j *job) sayf(format string, args ...any) {
	text := j.name + ": " + fmt.Sprintf(format, args...) + "\n"
	if _, err := syscall.Write(syscall.Stderr, []byte(text)); err != nil {
		j.verbose = false
	}
}
