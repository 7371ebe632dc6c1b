// Package proctree knows the processes of one command by number and start time, so that a
// number that was given to another process is not mistaken for it.
package proctree

// Process is one process that is there still.
type Process struct {
	Name  string // as it calls itself; printable
	Why   string // why it is believed to be there
	PID   int
	Start string // when it was started, in words
	State string // as the operating system calls it
}
