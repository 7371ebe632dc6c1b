package family_test

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"curfew.example/cmd/curfew/internal/family"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start starts a shell command, and returns when it has written a line.
func start(t *testing.T, program string, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.CommandContext(t.Context(), program, args...)
	out, w, err := os.Pipe()
	require.NoError(t, err)
	defer out.Close()
	c.Stdout = w
	require.NoError(t, c.Start())
	require.NoError(t, w.Close())
	_, err = io.ReadFull(out, make([]byte, 1))
	require.NoError(t, err)
	return c
}

func sweep(t *testing.T, f *family.Family) family.Swept {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	return f.Sweep(ctx)
}

func TestMainIsTheCommandAndNoneFromBefore(t *testing.T) {
	before := start(t, "sh", "-c", "echo; exec sleep 60")
	f := family.Adopt()
	assert.Nil(t, f.Main())
	command := start(t, "sh", "-c", "echo; exec sleep 60")
	main := f.Main()
	require.NotNil(t, main)
	assert.Equal(t, command.Process.Pid, main.Pid)
	require.NoError(t, main.Kill())
	_ = command.Wait()
	assert.Nil(t, f.Main())

	assert.Zero(t, sweep(t, f))
	assert.NoError(t, before.Process.Signal(os.Interrupt), "it was left alone")
	_ = before.Wait()
}

func TestSweepEndsOrphansOfOrphans(t *testing.T) {
	f := family.Adopt()
	// Each is orphaned when the one before it is killed, and none wants to end.
	command := start(t, "sh", "-c", `trap "" TERM HUP; (setsid sh -c 'trap "" TERM HUP; sleep 60 & echo; wait' &) ; sleep 0.2`)
	require.NoError(t, command.Wait())
	f.Reap()
	s := sweep(t, f)
	assert.Empty(t, s.Left)
	assert.Equal(t, 2, s.Seen)
	assert.Equal(t, 2, s.Killed)
}

func TestNameOfAChildMayHoldAnything(t *testing.T) {
	sleep, err := exec.LookPath("sleep")
	require.NoError(t, err)
	name := filepath.Join(t.TempDir(), "a) Z (\x1b[31m")
	require.NoError(t, os.Symlink(sleep, name))
	f := family.Adopt()
	c := exec.CommandContext(t.Context(), name, "60")
	require.NoError(t, c.Start())
	require.NotNil(t, f.Main())
	s := sweep(t, f)
	assert.Equal(t, family.Swept{Seen: 1, Killed: 1}, s)
	_ = c.Wait()
}

func TestReapWaitsForAdoptedZombies(t *testing.T) {
	f := family.Adopt()
	command := start(t, "sh", "-c", "echo; exec sleep 60")
	main := f.Main()
	require.NotNil(t, main)
	// In the same tick of the clock it could not be told from the command.
	<-time.After(50 * time.Millisecond)
	orphan := exec.CommandContext(t.Context(), "true") // stands in for one that was adopted
	require.NoError(t, orphan.Start())
	assert.Eventually(t, func() bool {
		f.Reap()
		_, err := os.Stat("/proc/" + strconv.Itoa(orphan.Process.Pid))
		return err != nil
	}, 5*time.Second, time.Millisecond)
	_ = orphan.Wait()
	assert.NotNil(t, f.Main(), "the command is for others to wait for")
	require.NoError(t, command.Process.Kill())
	_ = command.Wait()
}
