package proctree

import (
	"io"
	"os/exec"
	"strconv"
	"syscall"
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

// sleepers starts a process with n children, and returns its number.
func sleepers(t testing.TB, n int) int {
	t.Helper()
	cmd := exec.Command("sh", "-c", `i=0; while [ $i -lt $0 ]; do sleep 1000 >/dev/null & i=$((i+1)); done; echo up; read never`, strconv.Itoa(n))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = in.Close()
		_ = cmd.Wait()
	})
	_, err = io.ReadFull(out, make([]byte, len("up\n")))
	require.NoError(t, err)
	return cmd.Process.Pid
}

func TestChildrenThatFillMoreThanOnePiece(t *testing.T) {
	pid := sleepers(t, 300) // some 1,800 bytes
	children := Children(pid)
	assert.Len(t, children, 300)
	assert.Equal(t, children, ChildrenOf(pid, pid))
	for _, child := range children {
		st, err := ReadStat(child)
		require.NoError(t, err)
		require.Equal(t, pid, st.PPID)
	}
}

func TestALookThatIsBrokenOffLearnsNoMore(t *testing.T) {
	tree := Tree{}
	if tree.Probe(); !tree.Works() {
		t.Skip("needs /proc and pidfds")
	}
	tree.PlantHidden(sleepers(t, 3))
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

// A probe that fails because there are no descriptors left says nothing about the next one.
func TestProbeThatWasOutOfDescriptorsIsMadeAgain(t *testing.T) {
	tree := Tree{}
	if tree.Probe(); !tree.Works() {
		t.Skip("needs /proc and pidfds")
	}
	var was unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &was))
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Max: was.Max}))
	tree.Probe()
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &was))
	assert.False(t, tree.Works())
	tree.Probe()
	assert.True(t, tree.Works())
}

// To look at all processes for the children of each that has gone in between holds up a kill.
func TestChildrenOfOneThatHasGoneAreNotLookedFor(t *testing.T) {
	cmd := exec.Command("true")
	require.NoError(t, cmd.Run())
	gone := cmd.Process.Pid
	assert.Empty(t, Children(gone))
	allocs := testing.AllocsPerRun(10, func() { ChildrenOf(gone, gone) })
	assert.Less(t, allocs, 20.0, "all processes are several hundred")
}
