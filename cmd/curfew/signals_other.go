//go:build !unix

package main

import "os"

// ending lists the signals by which curfew itself is told to end.
func ending() []os.Signal { return []os.Signal{os.Interrupt} }

// forwarded lists the signals that exec passes on: none, as the console sends its own to
// every process that it has.
func forwarded() []os.Signal { return ending() }

func quit() os.Signal       { return nil }
func brokenPipe() os.Signal { return nil }

func toGroup(os.Signal) bool        { return false }
func signalGroup(int, os.Signal)    {}
func hasTerminal() bool             { return true }
func sentByTerminal(os.Signal) bool { return true }

// isTerminal reports whether f is a terminal, as far as can be told without asking the
// console: a device that is not the null device.
func isTerminal(f *os.File) bool {
	if f == nil || f.Name() == os.DevNull {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
