package resources

import (
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The real-time signals as glibc numbers them: it keeps the first two.
const (
	rtMin = 34
	rtMax = 64
)

const (
	// lookFirst and lookEvery bound the time between two looks at the tree of a
	// running command: often at the start, when daemons detach, then seldom.
	lookFirst = 10 * time.Millisecond
	lookEvery = time.Second
)

// awaitExit returns when the process, a child that nobody else waits for, has ended. It
// does not reap it. Now and then it calls look. With a pidfd it costs no thread: the
// handle becomes readable at the end, and the runtime's poller waits for that.
func awaitExit(pid int, look func()) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		blockUntilExit(pid)
		return
	}
	handle := os.NewFile(uintptr(fd), "pidfd")
	defer handle.Close()
	raw, err := handle.SyscallConn()
	if err != nil {
		blockUntilExit(pid)
		return
	}
	for pause := lookFirst; ; pause = min(2*pause, lookEvery) {
		if err := handle.SetReadDeadline(time.Now().Add(pause)); err != nil {
			blockUntilExit(pid)
			return
		}
		err := raw.Read(readable)
		if err == nil {
			return
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			blockUntilExit(pid)
			return
		}
		look()
	}
}

func readable(fd uintptr) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	return err == nil && n > 0
}

// blockUntilExit is for kernels older than 5.10. It costs a thread (golang/go#60320).
func blockUntilExit(pid int) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// maxRSSBytes is in KiB in getrusage(2).
func maxRSSBytes(st *os.ProcessState) int64 {
	if u, ok := st.SysUsage().(*syscall.Rusage); ok {
		return int64(u.Maxrss) << 10
	}
	return 0
}
