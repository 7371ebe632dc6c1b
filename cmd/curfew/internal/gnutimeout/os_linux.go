package gnutimeout

import (
	"context"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"curfew.example/cmd/curfew/internal/family"
)

// The real-time signals as the C library counts them; the kernel's first two are its own.
const (
	rtMin = 34
	rtMax = 64
)

// moreTerminating are the signals that end a process on this system only. One that MIPS
// does not have is 0 there.
func moreTerminating() []syscall.Signal {
	list := []syscall.Signal{syscall.SIGPOLL, syscall.SIGPWR, unix.SignalNum("SIGSTKFLT")}
	for n := rtMin; n <= rtMax; n++ {
		list = append(list, syscall.Signal(n))
	}
	return list
}

// diesWith makes the kernel send sig to the command when this process is killed.
func diesWith(sig syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: sig}
}

// asOnEntry calls start with the signals blocked in the calling thread, and so in what it
// starts, that were blocked on entry, less those that timeout lets in for itself.
func asOnEntry(start func() (int, error)) (int, error) {
	var then, now unix.Sigset_t
	for n := 1; n <= signalMax; n++ {
		sig := syscall.Signal(n)
		if blockedOnEntry(sig) && sig != syscall.SIGALRM && sig != syscall.SIGCHLD {
			add(&then, sig)
		}
	}
	_ = unix.PthreadSigmask(unix.SIG_SETMASK, &then, &now)
	defer func() { _ = unix.PthreadSigmask(unix.SIG_SETMASK, &now, nil) }()
	return start()
}

// unblock lets the calling thread have sig.
func unblock(sig syscall.Signal) {
	var set unix.Sigset_t
	add(&set, sig)
	_ = unix.PthreadSigmask(unix.SIG_UNBLOCK, &set, nil)
}

// add adds sig to set, whose words are as long as a pointer.
func add(set *unix.Sigset_t, sig syscall.Signal) {
	const bits = 8 * int(unsafe.Sizeof(set.Val[0]))
	n := int(sig) - 1
	set.Val[n/bits] |= 1 << (n % bits)
}

// The dispositions of sigaction(2) that are no handlers.
const (
	sigDefault = 0
	sigIgnore  = 1
)

// setAction sets what is done on sig behind the back of Go's runtime. On systems whose
// kernel has another layout for it, MIPS's, it is refused.
func setAction(sig syscall.Signal, disposition uintptr) error {
	action := struct {
		handler, flags, restorer uintptr
		mask                     uint64
	}{handler: disposition}
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&action)), 0,
		unsafe.Sizeof(action.mask), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// survive keeps this process alive when it sends sig, which Go has no handler for, to its
// own group.
func survive(sig syscall.Signal) {
	if sig == 32 || sig == rtMin {
		_ = setAction(sig, sigIgnore)
	}
}

// dieOf ends this process by sig, without a core dump. It returns when that did not work.
func dieOf(sig syscall.Signal) error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return err
	}
	_ = setAction(sig, sigDefault)
	unblock(sig)
	_ = unix.Tgkill(unix.Getpid(), unix.Gettid(), sig)
	return nil
}

// orphans are the descendants that this process adopts.
type orphans struct{ *family.Family }

// adopt begins to adopt. It returns nil where there are children already.
func adopt() *orphans {
	for {
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		switch {
		case err == syscall.EINTR || pid > 0:
			continue
		case err == nil:
			return nil
		}
		return &orphans{family.Adopt()}
	}
}

// sweepLimit bounds the wait for processes that were killed.
const sweepLimit = time.Second

// sweep kills all children and what they leave behind. It returns the processes that
// have not gone.
func (o *orphans) sweep() (left []int) {
	ctx, cancel := context.WithTimeout(context.Background(), sweepLimit)
	defer cancel()
	for _, l := range o.Sweep(ctx).Left {
		left = append(left, l.PID)
	}
	return left
}
