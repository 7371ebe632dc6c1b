package proctree

import (
	"os"
	"os/exec"
	"runtime"
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

// sleepers starts n children, from the thread that is locked to.
func sleepers(t testing.TB, n int) []int {
	t.Helper()
	pids := make([]int, 0, n)
	for range n {
		cmd := exec.Command("sleep", "1000")
		require.NoError(t, cmd.Start())
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
		pids = append(pids, cmd.Process.Pid)
	}
	return pids
}

func TestChildrenThatFillMoreThanOnePiece(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	pids := sleepers(t, 300) // some 1,800 bytes
	assert.Equal(t, pids, ChildrenOf(os.Getpid(), unix.Gettid()))
	assert.ElementsMatch(t, pids, Children(os.Getpid()))
}

func TestALookThatIsBrokenOffLearnsNoMore(t *testing.T) {
	tree := Tree{}
	if tree.Probe(); !tree.Works() {
		t.Skip("needs /proc and pidfds")
	}
	sleepers(t, 3)
	tree.PlantHidden(os.Getpid())
	tree.BreakOff = func() bool { return true }
	assert.False(t, tree.Look())
	seen, _, _ := tree.Count()
	assert.Zero(t, seen)

	tree.BreakOff = nil
	assert.True(t, tree.Look())
	seen, _, left := tree.Count()
	assert.Equal(t, [2]int{3, 3}, [2]int{seen, left})
	assert.False(t, tree.Look(), "there are no more")
}
