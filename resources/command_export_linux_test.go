package resources

import (
	"context"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"curfew.example/resources/internal/proctree"
)

// LookWanted has a tree look at those processes, as members of the first, for as long as nobody
// wants its lock, and returns how many others it has seen. If wanted is set somebody does, as
// soon as the look has begun.
func LookWanted(pids []int, wanted bool) (seen int) {
	var lock treeLock
	var tree proctree.Tree
	got := make(chan struct{})
	tree.Probe()
	tree.PlantHidden(pids[0])
	tree.Members = func() []int {
		if wanted {
			// Ends with the look.
			go func() {
				defer close(got)
				lock.Lock()
				defer lock.Unlock()
			}()
			for lock.wanted.Load() == 0 {
				runtime.Gosched()
			}
		}
		return pids
	}
	lock.look(&tree)
	if wanted {
		<-got
	}
	seen, _, _ = tree.Count()
	return seen
}

// GuardKills is how many kills of a force are left to a guard.
func GuardKills(force time.Duration) int { return guardKills(force) }

// KillsWithin is how many kills a force has that ends nothing.
func KillsWithin(force time.Duration) int { return 1 + int((forceWait(force)-1)/killAgain) }

// GroupOf starts cmd under the process group's killer, and returns what that says is
// left, and what kills it.
func GroupOf(cmd *exec.Cmd) (left func() []Leftover, kill func(), err error) {
	k := newGroup(false)
	if err := k.start(context.Background(), func() *exec.Cmd { return cmd }); err != nil {
		return nil, nil, err
	}
	p := newProcess("scripted", nil, k)
	return k.left, func() {
		k.signal(syscall.SIGKILL)
		p.goneWithin(p.asking, 5*time.Second)
	}, nil
}

// sharedBox is a box in which there is somebody else for as long as it says so.
type sharedBox struct{ populated func() bool }

func (b sharedBox) Attach(*syscall.SysProcAttr) (func(), error) { return func() {}, nil }
func (b sharedBox) Kill() error                                 { return nil }
func (b sharedBox) Populated() bool                             { return b.populated() }
func (b sharedBox) Members() []int                              { return nil }
func (b sharedBox) RemoveWithin(time.Duration) error            { return nil }

// BoxedGroup starts cmd under the process group's killer with a box that it is not in. It
// returns what says how many processes were seen, what says whether all have gone, and what
// kills them.
func BoxedGroup(cmd *exec.Cmd, populated func() bool) (seen func() int, gone func() bool, kill func(), err error) {
	k := newGroup(false)
	k.newBox = func() (box, error) { return sharedBox{populated}, nil }
	if err := k.start(context.Background(), func() *exec.Cmd { return cmd }); err != nil {
		return nil, nil, nil, err
	}
	seen = func() int {
		seen, _, _ := k.count()
		return seen
	}
	return seen, func() bool { return k.gone(over) }, func() { k.signal(syscall.SIGKILL) }, nil
}

// GoneWanted starts cmd under the process group's killer, waits until it has ended, and says
// whether all have gone while somebody waits for the tree, and then while nobody does.
func GoneWanted(cmd *exec.Cmd) (wanted, alone bool, err error) {
	k := newGroup(false)
	k.newBox = func() (box, error) { return sharedBox{func() bool { return false }}, nil }
	if err := k.start(context.Background(), func() *exec.Cmd { return cmd }); err != nil {
		return false, false, err
	}
	<-k.exited()
	got := make(chan struct{})
	k.tree.Members = func() []int { // the look has begun
		// Ends with it.
		go func() {
			defer close(got)
			k.mu.Lock()
			defer k.mu.Unlock()
		}()
		for k.mu.wanted.Load() == 0 {
			runtime.Gosched()
		}
		k.tree.Members = nil
		return nil
	}
	wanted = k.gone(over)
	<-got
	return wanted, k.gone(over), nil
}
