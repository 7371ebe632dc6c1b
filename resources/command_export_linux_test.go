package resources

import (
	"context"
	"os/exec"
	"syscall"
	"time"
)

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
