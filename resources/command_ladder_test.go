package resources_test

import (
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/resources"
)

func TestLadderWaitsBetweenItsSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &resources.ScriptedKiller{Obeys: syscall.SIGHUP}
		piece, _ := resources.ScriptedProcess(k, true,
			resources.Step{Signal: "INT", Wait: time.Second}, resources.Step{Signal: "TERM", Wait: 3 * time.Second}, resources.Step{Signal: "HUP"})
		require.NoError(t, piece.Close())
		assert.Equal(t, []resources.ScriptedSignal{
			{Signal: syscall.SIGINT}, {Signal: syscall.SIGTERM, After: time.Second}, {Signal: syscall.SIGHUP, After: 4 * time.Second},
		}, k.Sent)
	})
}

func TestLadderEndsWithTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &resources.ScriptedKiller{Obeys: syscall.SIGINT}
		piece, _ := resources.ScriptedProcess(k, true, resources.Step{Signal: "INT", Wait: time.Second}, resources.Step{Signal: "TERM"})
		require.NoError(t, piece.Close())
		assert.Equal(t, []resources.ScriptedSignal{{Signal: syscall.SIGINT}}, k.Sent)
	})
}

func TestForceStopsTheLadder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &resources.ScriptedKiller{Obeys: syscall.SIGKILL}
		piece, _ := resources.ScriptedProcess(k, true, resources.Step{Signal: "INT", Wait: time.Hour}, resources.Step{Signal: "TERM"})
		closed := make(chan error, 1)
		// Ends when force has come; received from below.
		go func() { closed <- piece.Close() }()
		time.Sleep(time.Second)
		synctest.Wait()
		require.NoError(t, piece.Force())
		assert.Error(t, <-closed, "asking was not enough")
		assert.Equal(t, []resources.ScriptedSignal{{Signal: syscall.SIGINT}, {Signal: syscall.SIGKILL, After: time.Second}}, k.Sent)
		assert.NoError(t, piece.Close(), "a later look finds nothing")
	})
}

func TestForceIsBoundedAndNamesWhatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		piece, _ := resources.ScriptedProcess(&resources.ScriptedKiller{}, true)
		start := time.Now()
		err := piece.Force()
		assert.Less(t, time.Since(start), time.Second)
		var left *resources.LeftoverError
		require.ErrorAs(t, err, &left)
		require.Len(t, left.Left, 2)
		assert.Equal(t, resources.Leftover{What: "process scripted", PID: 42, State: "D"}, left.Left[0])
		assert.Equal(t, "process other, started by scripted", left.Left[1].What)
		require.ErrorAs(t, piece.Close(), &left, "a later attempt says the same, at once")
	})
}

func TestForceOfAStartThatHangsIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		piece, up := resources.ScriptedProcess(&resources.ScriptedKiller{Obeys: syscall.SIGKILL}, false)
		closed := make(chan error, 1)
		// Ends when force has come; received from below.
		go func() { closed <- piece.Close() }()
		synctest.Wait()
		assert.Error(t, piece.Force())
		assert.Error(t, <-closed)
		assert.Error(t, piece.Close())
		up()
		assert.NoError(t, piece.Force())
	})
}

func TestProcessThatIsReleasedFirstIsNeverStarted(t *testing.T) {
	piece, start := resources.KeptProcess()
	require.NoError(t, piece.Close())
	require.NoError(t, piece.Force())
	assert.ErrorIs(t, start(), resources.ErrSealed)
}
