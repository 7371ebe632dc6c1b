//go:build darwin || freebsd || netbsd || openbsd || dragonfly

package proctree

import "syscall"

// Tree knows the main process only: these systems have no list of children that
// could be followed without privilege.
type Tree struct {
	Members  func() []int // not used here
	BreakOff func() bool  // neither

	main     int
	ended    <-chan struct{}
	signaled bool
}

func (t *Tree) Probe()               {}
func (t *Tree) Works() bool          { return false }
func (t *Tree) BrokenOff() bool      { return false }
func (t *Tree) RootEnded()           {}
func (t *Tree) Round()               {}
func (t *Tree) Look() bool           { return false }
func (t *Tree) Adopt(int, bool) bool { return false }
func (t *Tree) Alive() bool          { return !isClosed(t.ended) }

func (t *Tree) Plant(pid int, ended <-chan struct{}) { t.main, t.ended = pid, ended }

func (t *Tree) Signal(syscall.Signal, int) { t.signaled = t.signaled || t.Alive() }

func (t *Tree) Left() []Process {
	if t.Alive() {
		return []Process{{Why: "has not ended", PID: t.main}}
	}
	return nil
}

func (t *Tree) Count() (seen, killed, left int) {
	switch {
	case t.ended == nil:
		return 0, 0, 0
	case t.Alive():
		return 1, 0, 1
	case t.signaled:
		return 1, 1, 0
	}
	return 1, 0, 0
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
