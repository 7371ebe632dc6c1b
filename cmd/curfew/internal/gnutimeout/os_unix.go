//go:build unix && !linux

package gnutimeout

import (
	"os/signal"
	"syscall"
	"time"
)

// There are no real-time signals that can be caught here.
const (
	rtMin = 1
	rtMax = 0
)

func moreTerminating() []syscall.Signal { return []syscall.Signal{syscall.SIGIO} }

func diesWith(syscall.Signal) *syscall.SysProcAttr { return nil }

// asOnEntry calls start; what was blocked on entry is not blocked again here.
func asOnEntry(start func() (int, error)) (int, error) { return start() }

// survive has nothing to do: Go has a handler for every signal here.
func survive(syscall.Signal) {}

// dieOf ends this process by sig, without a core dump. It returns when that did not work.
func dieOf(sig syscall.Signal) error {
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}); err != nil {
		return err
	}
	signal.Reset(sig)
	_ = syscall.Kill(syscall.Getpid(), sig)
	time.Sleep(time.Second) // any thread may be the one to get it
	return nil
}

// orphans go to init here.
type orphans struct{}

func adopt() *orphans         { return nil }
func (*orphans) sweep() []int { return nil }
