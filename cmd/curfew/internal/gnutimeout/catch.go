//go:build unix

package gnutimeout

import (
	"os"
	"os/signal"
	"slices"
	"syscall"
)

// catch is the signals that this process takes.
type catch struct {
	signals chan os.Signal // to pass on
	child   chan os.Signal
	sink    chan os.Signal // what must not have its usual effect; nobody reads it
}

// terminating lists the signals that end a process and can be caught.
func terminating() []syscall.Signal {
	return append([]syscall.Signal{
		syscall.SIGALRM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGTERM,
		syscall.SIGPIPE, syscall.SIGUSR1, syscall.SIGUSR2,
		syscall.SIGILL, syscall.SIGTRAP, syscall.SIGABRT, syscall.SIGBUS, syscall.SIGFPE, syscall.SIGSEGV,
		syscall.SIGXCPU, syscall.SIGXFSZ, syscall.SIGSYS, syscall.SIGVTALRM, syscall.SIGPROF,
	}, moreTerminating()...)
}

// newCatch takes the signals that a command which is ended with term has to be sent, and
// sets those aside that were ignored on entry, so that the command inherits that. A
// signal that was blocked on entry is dropped: Go lets it in.
func newCatch(term syscall.Signal) *catch {
	c := &catch{signals: make(chan os.Signal, 2*signalMax), child: make(chan os.Signal, 1), sink: make(chan os.Signal, 1)}
	for _, sig := range append(terminating(), term) {
		switch {
		case sig == 0, sig == syscall.SIGKILL, sig == syscall.SIGSTOP:
		case sig == syscall.SIGURG: // Go sends it to itself all the time
		case sig == syscall.SIGALRM:
			signal.Notify(c.signals, sig)
		case sig != term && ignoredOnEntry(sig):
		case blockedOnEntry(sig):
			signal.Notify(c.sink, sig)
		default:
			signal.Notify(c.signals, sig)
		}
	}
	for n := 1; n <= signalMax; n++ {
		sig := syscall.Signal(n)
		if ignoredOnEntry(sig) && sig != term && !slices.Contains(ownUse(), sig) {
			signal.Ignore(sig)
		}
	}
	signal.Notify(c.child, syscall.SIGCHLD)
	// Until the command is started: what is caught has its usual effect there again.
	signal.Notify(c.sink, syscall.SIGTTIN, syscall.SIGTTOU)
	return c
}

// ownUse lists the signals that have their usual effect in the command whatever they had
// on entry.
func ownUse() []syscall.Signal {
	return []syscall.Signal{syscall.SIGALRM, syscall.SIGCHLD, syscall.SIGTTIN, syscall.SIGTTOU}
}

// started is called when the command has been started: this process does not stop on the
// terminal's account.
func (c *catch) started() { signal.Ignore(syscall.SIGTTIN, syscall.SIGTTOU) }
