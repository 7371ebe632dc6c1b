//go:build unix

package main

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// ending lists the signals by which curfew itself is told to end.
func ending() []os.Signal {
	return []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT}
}

// forwarded lists the signals that exec passes on to its command.
func forwarded() []os.Signal {
	return append(ending(), syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH)
}

func quit() os.Signal       { return syscall.SIGQUIT }
func brokenPipe() os.Signal { return syscall.SIGPIPE }

// toGroup reports whether a signal is meant for everybody, as from a terminal, and not for
// the one process that knows what to do with it.
func toGroup(s os.Signal) bool {
	switch s {
	case syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT:
		return true
	}
	return false
}

// signalGroup sends s to the group that pid leads. That it has gone is no error.
func signalGroup(pid int, s os.Signal) {
	if sig, ok := s.(syscall.Signal); ok {
		_ = unix.Kill(-pid, sig)
	}
}

// hasTerminal reports whether this process has a controlling terminal.
func hasTerminal() bool {
	f, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	return f.Close() == nil
}

// sentByTerminal reports whether s has come, as far as can be told, from the terminal and
// so to the whole foreground group: the terminal sends it, and this process is in the
// foreground. A hang-up is the terminal's when there is no terminal any more. Go does not
// tell the sender of a signal, so one that somebody sent to a curfew in the foreground
// with kill(1) is taken for the terminal's.
func sentByTerminal(s os.Signal) bool {
	switch s {
	case syscall.SIGINT, syscall.SIGQUIT, syscall.SIGWINCH:
		return inForeground()
	case syscall.SIGHUP:
		return !hasTerminal()
	}
	return false
}

// inForeground reports whether this process's group is the terminal's foreground group.
func inForeground() bool {
	f, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	defer f.Close()
	group, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// isTerminal reports whether f is a terminal: it has a size.
func isTerminal(f *os.File) bool {
	if f == nil {
		return false
	}
	_, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	return err == nil
}
