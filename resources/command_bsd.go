//go:build darwin || freebsd || netbsd || openbsd || dragonfly

package resources

import (
	"context"
	"errors"
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// There are no real-time signals with names here.
const (
	rtMin = 1
	rtMax = 0
)

// awaitExit returns when the process, a child that nobody else waits for, has ended. It
// does not reap it. See kqueue(2), EVFILT_PROC. It costs a thread.
func awaitExit(pid int, _ func()) {
	kq, err := unix.Kqueue()
	for err != nil {
		// Out of descriptors, most likely: nobody may be told that it has ended.
		time.Sleep(10 * time.Millisecond)
		kq, err = unix.Kqueue()
	}
	defer unix.Close(kq)
	var change unix.Kevent_t
	unix.SetKevent(&change, pid, unix.EVFILT_PROC, unix.EV_ADD|unix.EV_ONESHOT)
	change.Fflags = unix.NOTE_EXIT
	changes, events := []unix.Kevent_t{change}, make([]unix.Kevent_t, 1)
	for {
		_, err := unix.Kevent(kq, changes, events, nil)
		if !errors.Is(err, unix.EINTR) {
			// ESRCH: it has ended already.
			return
		}
	}
}

// maxRSSBytes is in bytes on macOS, else in KiB: see getrusage(2).
func maxRSSBytes(st *os.ProcessState) int64 {
	u, ok := st.SysUsage().(*syscall.Rusage)
	switch {
	case !ok:
		return 0
	case runtime.GOOS == "darwin":
		return int64(u.Maxrss)
	}
	return int64(u.Maxrss) << 10
}

// killer is the process group: there are no others here. FreeBSD could kill a whole tree
// (procctl(2), PROC_REAP_KILL), but only one of a process that has made itself the reaper.
func (c Command) killer(context.Context, *Held, []signalStep) (killer, error) {
	if c.Containment != "" && c.Containment != containGroup || c.Guard != "" {
		return nil, ErrNotContained
	}
	return newGroup(c.Foreground), nil
}
