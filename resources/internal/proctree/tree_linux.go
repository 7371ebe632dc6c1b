package proctree

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Tree knows the processes of one command that were seen. It is found by following
// /proc/PID/task/TID/children from those that are alive; what is known stays known when
// its parents go and it is given to init. See proc(5).
//
// The zero value knows nothing; it is not for many goroutines.
type Tree struct {
	// Members, if set, lists numbers of processes that belong to the tree whatever
	// their parents are: those of a cgroup.
	Members func() []int

	// BreakOff, if set, is asked while Look and Signal are at work; they come back at once
	// when it says so. A tree of thousands takes its time.
	BreakOff func() bool

	usable bool
	rounds int
	known  map[ID]*seen

	// Those that have gone and are forgotten, so that a tree that lives long does not
	// grow: how many, and how many of them had been signalled.
	past, pastKilled int
}

// seen is one process that was seen.
type seen struct {
	Stat
	gone     bool // it was looked for and had ended
	zombie   bool // it had not been waited for then
	signaled bool // by us, while it was there
	denied   bool // the kernel would not let us
	hidden   bool // the root of what counts, and does not count itself
	root     bool // who planted it waits for it: until then nobody else has its number
	round    int  // the last in which it was sent a signal by itself
}

// Probe finds out whether there is what the tree needs: /proc of our own PID namespace,
// and pidfds that take signals.
func (t *Tree) Probe() {
	link, err := os.Readlink("/proc/self")
	t.usable = err == nil && link == strconv.Itoa(os.Getpid()) && handles()
}

// handles reports whether the kernel has pidfds that take signals: 5.3 and later have, unless a
// filter of system calls forbids them. It is asked each time, which takes microseconds: for want
// of descriptors it says no.
func handles() bool {
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return unix.PidfdSendSignal(fd, 0, nil, 0) == nil
}

// Works reports whether Probe has found it.
func (t *Tree) Works() bool { return t.usable }

// Plant takes the main process, which the caller has not reaped, as the root.
func (t *Tree) Plant(pid int, _ <-chan struct{}) {
	t.known = make(map[ID]*seen)
	st, err := ReadStat(pid)
	if err != nil {
		st = Stat{ID: ID{PID: pid}}
	}
	t.learn(st).root = true
}

// RootEnded says that the main process has ended, and has not been reaped: nobody has to ask.
func (t *Tree) RootEnded() {
	for _, s := range t.known {
		if s.root && !s.gone {
			s.gone, s.zombie = true, true
		}
	}
}

// PlantHidden takes the process as the root, which is alive as long as the tree is in use,
// and is itself not of the tree: the guard's, say. Its children are its first thread's.
func (t *Tree) PlantHidden(pid int) {
	t.known = make(map[ID]*seen)
	t.Hide(pid)
}

// Hide says of a process that it is not of the tree, although its children are, all of them its
// first thread's.
func (t *Tree) Hide(pid int) {
	if st, err := ReadStat(pid); err == nil {
		t.learn(st).hidden = true
	}
}

// Reaped says that a child of this process with that number has been waited for, and
// whether it was killed by us. One that was never seen alive is counted.
func (t *Tree) Reaped(pid int, killed bool) {
	for _, s := range t.known {
		if s.PID == pid {
			s.signaled = s.signaled || killed
			t.forget(s)
			return
		}
	}
	t.forget(&seen{signaled: killed})
}

// forget counts one that has gone and is in the tree no more.
func (t *Tree) forget(s *seen) {
	delete(t.known, s.ID)
	t.past++
	if s.signaled {
		t.pastKilled++
	}
}

func (t *Tree) learn(st Stat) *seen {
	s := &seen{Stat: st}
	t.known[st.ID] = s
	return s
}

// Look follows the tree down from those that are known and alive, and reports whether it
// found more.
func (t *Tree) Look() (more bool) {
	if !t.usable {
		return false
	}
	var queue []*seen
	there := make(map[int]bool, len(t.known)) // the numbers of those that are in the tree, and alive
	for _, s := range t.known {
		if t.BrokenOff() {
			return false
		}
		known := s.gone
		if s.refresh() {
			queue, there[s.PID] = append(queue, s), true
		} else if !s.hidden && !s.root && (!known && !s.zombie || known && !s.unreaped()) {
			t.forget(s)
		}
	}
	for len(queue) > 0 && !t.BrokenOff() {
		parent := queue[0]
		queue = queue[1:]
		for _, st := range parent.children(there) {
			if _, ok := t.known[st.ID]; !ok && !st.Dead() {
				queue, there[st.PID] = append(queue, t.learn(st)), true
				more = true
			}
		}
	}
	return t.members(there) || more
}

// BrokenOff reports whether a look would be broken off now, and so the last one may have been.
func (t *Tree) BrokenOff() bool { return t.BreakOff != nil && t.BreakOff() }

// members learns of the Members that are not in the tree.
func (t *Tree) members(there map[int]bool) (more bool) {
	if t.Members == nil {
		return false
	}
	for _, pid := range t.Members() {
		if t.BrokenOff() {
			return more
		}
		if there[pid] {
			continue
		}
		st, err := ReadStat(pid)
		if _, ok := t.known[st.ID]; err == nil && !ok && !st.Dead() {
			t.learn(st)
			more = true
		}
	}
	return more
}

// Adopt learns of the members of a group that are not in the tree: their parents had
// gone before they were seen. reaped says that the group's first process has been reaped,
// and all of the group sent a KILL. It reports false when it could not see them all.
func (t *Tree) Adopt(group int, reaped bool) bool {
	members, err := membersOf(group)
	if err != nil {
		return false
	}
	var found []Stat
	for _, pid := range members {
		st, err := ReadStat(pid)
		if err != nil && !HasGone(err) {
			return false
		}
		if _, known := t.known[st.ID]; err == nil && st.PGrp == group && !known && !st.Dead() {
			found = append(found, st)
		}
	}
	if _, err := ReadStat(group); reaped && err == nil {
		// The number has been given to somebody else: then the group that was ours
		// has no members any more, and these are strangers.
		return true
	}
	for _, st := range found {
		t.learn(st).signaled = reaped
	}
	return true
}

// membersOf lists the processes of a group, zombies among them. It asks of every process
// there is, by getpgid(2): to read each one's stat takes five times as long.
func membersOf(group int) ([]int, error) {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer proc.Close()
	names, err := proc.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var members []int
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		of, err := unix.Getpgid(pid)
		if of == group || (err != nil && err != unix.ESRCH) { // where it is not told, the stat tells
			members = append(members, pid)
		}
	}
	return members, nil
}

// Alive reports whether any that is known is there.
func (t *Tree) Alive() bool {
	for _, s := range t.known {
		if !s.hidden && s.refresh() {
			return true
		}
	}
	return false
}

// Round begins the sending of one signal.
func (t *Tree) Round() { t.rounds++ }

// Signal sends sig to each that is there and has not had it in this round, except to the
// members of group, which are sent it as a whole. 0 is no group.
func (t *Tree) Signal(sig syscall.Signal, group int) {
	for _, s := range t.known {
		if t.BrokenOff() {
			return
		}
		if s.hidden || s.round == t.rounds || !s.refresh() {
			continue
		}
		if !t.usable || (group != 0 && s.PGrp == group) {
			s.signaled = true
			continue
		}
		s.send(sig)
		s.round = t.rounds
	}
}

// send signals the process through a handle, which cannot come to mean another one.
func (s *seen) send(sig syscall.Signal) {
	fd, err := unix.PidfdOpen(s.PID, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	// If the number had been given away before the handle was opened, the start time
	// is another one now; if it is given away after it, the handle is still ours.
	if !s.refresh() {
		return
	}
	err = unix.PidfdSendSignal(fd, sig, nil, 0)
	s.signaled = s.signaled || err == nil
	s.denied = errors.Is(err, unix.EPERM)
}

// refresh reads the process anew and reports whether it is there. A zombie is not.
func (s *seen) refresh() bool {
	if s.gone {
		return false
	}
	st, err := ReadStat(s.PID)
	switch {
	case err != nil && !HasGone(err):
		// Out of descriptors, say: nobody is believed dead for that.
		return true
	case err != nil, st.Start != s.Start, st.Dead():
		s.gone, s.zombie = true, err == nil && st.Start == s.Start
		return false
	}
	s.Stat = st
	return true
}

// unreaped reports whether the process, which has ended, has yet to be waited for. It is
// known until then, so that one that is Reaped is not counted twice.
func (s *seen) unreaped() bool {
	st, err := ReadStat(s.PID)
	return err == nil && st.Start == s.Start
}

// HasGone reports whether /proc said that there is no such process.
func HasGone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH)
}

// Left lists those that are there, by number.
func (t *Tree) Left() []Process {
	var left []Process
	for _, s := range t.known {
		if !s.hidden && s.refresh() {
			left = append(left, s.leftover())
		}
	}
	slices.SortFunc(left, func(a, b Process) int { return a.PID - b.PID })
	return left
}

func (s *seen) leftover() Process {
	why := "has not ended"
	switch {
	case s.denied:
		why = "may not be signalled by this user"
	case s.signaled:
		why = "has not ended though it was signalled"
	}
	return Process{
		Name:  s.Comm,
		Why:   why,
		PID:   s.PID,
		Start: fmt.Sprintf("%d ticks after boot", s.Start),
		State: string(s.State),
	}
}

// Count says how many were seen, how many of those were signalled and have gone, and how
// many are there.
func (t *Tree) Count() (seen, killed, left int) {
	seen, killed = t.past, t.pastKilled
	for _, s := range t.known {
		if s.hidden {
			continue
		}
		seen++
		switch there := s.refresh(); {
		case there:
			left++
		case s.signaled:
			killed++
		}
	}
	return seen, killed, left
}

// children lists the children of a process that was alive a moment ago, without those whose
// numbers are there: they were seen alive as late as it was.
func (s *seen) children(there map[int]bool) []Stat {
	var children []Stat
	for _, pid := range s.childNumbers() {
		if there[pid] {
			continue
		}
		// One that has another parent by now may be a stranger: the child may have
		// gone, and its number with it.
		if st, err := ReadStat(pid); err == nil && st.PPID == s.PID {
			children = append(children, st)
		}
	}
	if len(children) > 0 && !s.refresh() {
		// Its number may have been given away in between, and these be a stranger's.
		return nil
	}
	return children
}

// childNumbers lists the numbers of its children: the first thread's where no other has any.
//
// To look into the directory of a thread has its price at the thread's end: the kernel drops its
// entry from the cache then, and whoever reaps the process meanwhile waits for that in a loop
// (d_invalidate). At the end of a guard it took half of the time, on a busy machine.
func (s *seen) childNumbers() []int {
	if s.threads == 1 || s.hidden {
		return ChildrenOf(s.PID, s.PID)
	}
	return Children(s.PID)
}
