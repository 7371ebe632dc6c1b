package resources_test

import (
	"errors"
	"net"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/resources"
)

var errStubborn = errors.New("will not go")

// ladderRun seals and releases what fill registers, in fake time.
func ladderRun(t *testing.T, aborted bool, grace, force time.Duration, fill func(*resources.Held)) (rep *resources.Report, took time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var k resources.Keeper
		held := k.Begin(nil)
		fill(held)
		k.Seal(aborted)
		start := time.Now()
		rep = k.Release(grace, force)
		took = time.Since(start)
		time.Sleep(time.Hour)
	})
	return rep, took
}

func sleeper(d time.Duration, err error) func() error {
	return func() error { time.Sleep(d); return err }
}

func TestPiecesAreReleasedLastInFirstOutHooksFirst(t *testing.T) {
	var order []string
	note := func(s string) *resources.Piece {
		return &resources.Piece{What: s, Close: func() error { order = append(order, s); return nil }}
	}
	rep, took := ladderRun(t, true, time.Second, time.Second, func(h *resources.Held) {
		require.NoError(t, h.Keep(note("socket")))
		require.NoError(t, h.OnAbort(note("first hook")))
		require.NoError(t, h.Keep(note("tls")))
		require.NoError(t, h.OnAbort(note("second hook")))
	})
	assert.Equal(t, []string{"second hook", "first hook", "tls", "socket"}, order)
	assert.Len(t, rep.Released, 4)
	assert.Empty(t, rep.Remains)
	assert.NoError(t, rep.Err)
	assert.Zero(t, took)
}

func TestHooksDoNotRunWithoutAnAbort(t *testing.T) {
	rep, _ := ladderRun(t, false, time.Second, time.Second, func(h *resources.Held) {
		_ = h.OnAbort(&resources.Piece{What: "hook", Close: func() error { t.Error("it ran"); return nil }})
	})
	assert.Empty(t, rep.Released)
}

func TestTheLadderIsBoundedAndSaysHowEachPieceWent(t *testing.T) {
	const grace, force = 2 * time.Second, time.Second
	for name, c := range map[string]struct {
		close, force func() error
		took         time.Duration
		how          string // empty: not released
		left         string // empty: nothing left
	}{
		"asked":                  {sleeper(time.Second, nil), nil, time.Second, "close", ""},
		"asked, gone already":    {sleeper(0, net.ErrClosed), nil, 0, "close", ""},
		"failed, forced":         {sleeper(0, errStubborn), sleeper(0, nil), 0, "force", ""},
		"failed, no force":       {sleeper(0, errStubborn), nil, 0, "", "will not go"},
		"failed twice":           {sleeper(0, errStubborn), sleeper(0, errStubborn), 0, "", "will not go"},
		"hung, no force":         {sleeper(time.Minute, nil), nil, grace + force, "", "its clean-up has not returned"},
		"hung, forced":           {sleeper(time.Minute, nil), sleeper(0, nil), grace + force, "force", "gone, but its clean-up has not returned"},
		"hung, force hangs":      {sleeper(time.Minute, nil), sleeper(time.Minute, nil), grace + force, "", "its clean-up has not returned"},
		"failed, force hangs":    {sleeper(0, errStubborn), sleeper(time.Minute, nil), force, "", "its forced end has not returned"},
		"late, but within force": {sleeper(grace+force/2, nil), nil, grace + force/2, "close", ""},
		"panics, forced":         {func() error { panic(errStubborn) }, sleeper(0, nil), 0, "force", ""},
		"exits, no force":        {func() error { runtime.Goexit(); return nil }, nil, 0, "", "goroutine exited"},
		"nothing to call":        {nil, nil, 0, "close", ""},
	} {
		t.Run(name, func(t *testing.T) {
			rep, took := ladderRun(t, true, grace, force, func(h *resources.Held) {
				_ = h.Keep(&resources.Piece{What: "piece", Close: c.close, Force: c.force})
			})
			assert.Equal(t, c.took, took)
			if c.how == "" {
				assert.Empty(t, rep.Released)
			} else {
				require.Len(t, rep.Released, 1)
				assert.Equal(t, c.how, rep.Released[0].How)
			}
			if c.left == "" {
				assert.Empty(t, rep.Left())
				return
			}
			require.Len(t, rep.Left(), 1)
			assert.Contains(t, rep.Left()[0].Why, c.left)
			assert.Error(t, rep.Err, "what is left is an error")
		})
	}
}

func TestOneThatHangsHoldsUpTheOthersNoLongerThanTheGrace(t *testing.T) {
	var goneAt time.Time
	var start time.Time
	rep, took := ladderRun(t, true, time.Second, time.Second, func(h *resources.Held) {
		start = time.Now()
		_ = h.Keep(&resources.Piece{What: "socket", Close: func() error { goneAt = time.Now(); return nil }})
		_ = h.OnAbort(&resources.Piece{What: "hook that hangs", Close: sleeper(time.Minute, nil)})
	})
	assert.Equal(t, time.Second, goneAt.Sub(start))
	assert.Equal(t, 2*time.Second, took)
	require.Len(t, rep.Left(), 1)
	assert.Equal(t, "hook that hangs", rep.Left()[0].What)
}

func TestTheRunnerBelongsToWhatHasToGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var k resources.Keeper
		held := k.Begin(nil)
		closed := make(chan struct{})
		k.Out()
		_ = held.Keep(&resources.Piece{What: "socket", Close: func() error { close(closed); return nil }})
		go func() {
			<-closed // the close is what ends the work
			k.Back()
		}()
		k.Seal(true)
		start := time.Now()
		rep := k.Release(time.Second, time.Second)
		assert.Zero(t, time.Since(start))
		assert.Empty(t, rep.Remains)
	})
}

func TestWhatIsKeptTooLateAndWillNotCloseIsALeftoverOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var k resources.Keeper
		held := k.Begin(nil)
		k.Out()
		tries := 0
		go func() {
			defer k.Back()
			time.Sleep(10 * time.Second)
			err := held.Keep(&resources.Piece{What: "late", Close: func() error {
				if tries++; tries == 1 {
					return errStubborn
				}
				return nil
			}})
			assert.ErrorIs(t, err, resources.ErrSealed)
			assert.ErrorIs(t, err, errStubborn)
		}()
		k.Seal(true)
		rep := k.Release(time.Second, time.Second)
		require.Len(t, rep.Remains, 1)
		<-rep.Remains[0].Gone
		more := rep.Remains[0].Then()
		require.Len(t, more, 1)
		assert.Equal(t, "late", more[0].Left[0].What)
		assert.NoError(t, more[0].Retry())
	})
}

func TestGivenPiecesBelongToTheOther(t *testing.T) {
	var from, to resources.Keeper
	a, b := from.Begin(nil), to.Begin(nil)
	closed := 0
	piece := &resources.Piece{What: "piece", Close: func() error { closed++; return nil }}
	require.NoError(t, a.Keep(piece))
	require.NoError(t, a.Give(b))
	assert.False(t, from.Seal(true))
	assert.False(t, a.Drop(piece))
	assert.Zero(t, closed)
	assert.True(t, to.Seal(true))
	to.Release(time.Second, time.Second)
	assert.Equal(t, 1, closed)

	var late resources.Keeper
	c := late.Begin(nil)
	require.NoError(t, c.Keep(piece))
	require.ErrorIs(t, c.Give(b), resources.ErrSealed, "what is given to one that has ended is closed")
	assert.Equal(t, 2, closed)
	late.Seal(false)
	assert.ErrorIs(t, c.Give(b), resources.ErrSealed)
}

func TestADroppedPieceIsNotClosed(t *testing.T) {
	var k resources.Keeper
	held := k.Begin(nil)
	piece := &resources.Piece{What: "piece", Close: func() error { t.Error("closed"); return nil }}
	require.NoError(t, held.Keep(piece))
	assert.True(t, held.Drop(piece))
	assert.False(t, held.Drop(piece))
	assert.False(t, k.Seal(true))
	assert.False(t, held.Drop(piece))
}

// The timer has fired and the Close has failed, and either may be the first to be noted: the
// firing that comes second must not be taken for the end of the wait after force.
func TestAPieceThatFailsAsTheGraceEndsHasAllOfForce(t *testing.T) {
	for range 500 {
		rep, took := ladderRun(t, false, time.Second, time.Second, func(h *resources.Held) {
			_ = h.Keep(&resources.Piece{What: "piece", Close: sleeper(time.Second, errStubborn), Force: sleeper(time.Second/2, nil)})
		})
		require.Empty(t, rep.Left())
		require.Equal(t, 3*time.Second/2, took)
	}
}

// shy is an error that says what it is only to one who has its token.
type shy struct{ token chan struct{} }

func (e *shy) Error() string {
	<-e.token
	e.token <- struct{}{}
	return "shy"
}

func TestAnErrorWhoseTextHasToWaitHoldsNothingUp(t *testing.T) {
	rep, took := ladderRun(t, true, time.Second, time.Second, func(h *resources.Held) {
		token := make(chan struct{}, 1)
		fails := func() error { return &shy{token} }
		_ = h.Keep(&resources.Piece{What: "piece", Close: fails})
		_ = h.OnAbort(&resources.Piece{What: "hook that fails", Close: fails})
		_ = h.OnAbort(&resources.Piece{What: "hook that hangs", Close: func() error {
			time.Sleep(time.Minute)
			token <- struct{}{}
			return nil
		}})
	})
	assert.Equal(t, 2*time.Second, took)
	assert.Len(t, rep.Left(), 3)
}
