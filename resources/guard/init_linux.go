package guard

import (
	"bufio"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// forkNamespace starts this program as the first process of a PID namespace, which starts
// the command. With that process all others of the namespace end. A user who may not make
// one makes a user namespace around it.
func (p *Plan) forkNamespace() (pid int, answer *bufio.Reader, err error) {
	sys := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS}
	if unix.Geteuid() != 0 {
		sys.Cloneflags |= unix.CLONE_NEWUSER
		sys.UidMappings = []syscall.SysProcIDMap{{ContainerID: unix.Geteuid(), HostID: unix.Geteuid(), Size: 1}}
		sys.GidMappings = []syscall.SysProcIDMap{{ContainerID: unix.Getegid(), HostID: unix.Getegid(), Size: 1}}
		sys.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN} // to mount /proc, until the command begins
	}
	pid, pipe, err := p.forkStage(initName, sys)
	if err != nil {
		return 0, nil, err
	}
	return pid, NewReader(pipe), nil
}

// initNamespace is the first process of a PID namespace. A signal's default action does
// not happen to such a process, so it is not the command itself: that could not be asked to
// end. It starts the command, says how that ended, and waits for all others.
func initNamespace(p *Plan, _ *bufio.Reader, w *words) {
	// Caught and dropped: they are for the command.
	signal.Notify(make(chan os.Signal, 1), passedOn()...)
	// /proc shows the namespace, where it may be mounted; where it may not, it shows what
	// the guard sees, and nothing else changes.
	_ = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	_ = unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	_ = unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
	main, _, err := p.start()
	if err != nil {
		w.say(Word{Failed: &Failed{Errno: int(errno(err))}})
		return
	}
	letGoOfStreams()
	w.say(Word{Started: &Started{PID: main}})
	for {
		var ws unix.WaitStatus
		var used unix.Rusage
		pid, err := unix.Wait4(-1, &ws, 0, &used)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return
		case pid == main:
			w.say(Word{Exited: exitedOf(ws, &used)})
		}
	}
}

// exitedOf says how a process has ended.
func exitedOf(ws unix.WaitStatus, used *unix.Rusage) *Exited {
	e := &Exited{
		Code:   -1,
		UserNS: used.Utime.Nano(), SystemNS: used.Stime.Nano(),
		MaxRSSBytes: int64(used.Maxrss) << 10,
	}
	if ws.Signaled() {
		e.Signal = int(ws.Signal())
	} else {
		e.Code = ws.ExitStatus()
	}
	return e
}
