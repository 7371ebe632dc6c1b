package proctree

import (
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestOneThatIsSeenDeadAndThenReapedIsCountedOnce(t *testing.T) {
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	tree := Tree{}
	tree.Probe()
	if !tree.Works() {
		_ = in.Close()
		_ = cmd.Wait()
		t.Skip("needs /proc and pidfds")
	}
	tree.Plant(cmd.Process.Pid, nil)

	require.NoError(t, in.Close())
	require.NoError(t, unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil))
	tree.Look()
	seen, killed, left := tree.Count()
	assert.Equal(t, [3]int{1, 0, 0}, [3]int{seen, killed, left}, "it has ended, and waits to be reaped")

	require.NoError(t, cmd.Wait())
	tree.Reaped(cmd.Process.Pid, true)
	tree.Look()
	seen, killed, left = tree.Count()
	assert.Equal(t, [3]int{1, 1, 0}, [3]int{seen, killed, left})
	assert.Empty(t, tree.known, "what has gone is forgotten")
}
