package resources_test

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/resources"
	"curfew.example/resources/resourcetest"
	"curfew.example/timeoutpolicy"
)

var errFunc = errors.New("the function's own")

// funcBudget is short, for functions that are to be ended.
var funcBudget = timeoutpolicy.Budget{Limit: 50 * time.Millisecond}

func funcWaits(ctx context.Context) (int, error) {
	<-ctx.Done()
	return 7, ctx.Err()
}

func TestFuncPassesTheSuite(t *testing.T) {
	resourcetest.Suite(t, resourcetest.Kind{
		Name: "func",
		Good: func(testing.TB) resources.Use {
			return resources.Of(resources.Func(func(context.Context) (int, error) { return 7, nil }))
		},
		Hang: func(testing.TB) resources.Use { return resources.Of(resources.Func(funcWaits)) },
		Fail: func(testing.TB) resources.Use {
			return resources.Of(resources.Func(func(context.Context) (int, error) { return 0, errFunc }))
		},
		FailsWith: errFunc,
		Bad: []resources.Use{
			resources.Of(resources.Func[int](nil)),
			resources.Of(resources.Function[int]{}),
			resources.Of(resources.Func(funcWaits).Cleanup(nil)),
			resources.Of(resources.Func(funcWaits).CleanupContext(nil).Cleanup(func() error { return nil })),
		},
		Check: func(t testing.TB, v any) { assert.Equal(t, 7, v) },
	})
}

// The hook closes the pipe on which the work is blocked, and that is what ends it.
func TestFuncBlockedOnASocketPassesTheSuite(t *testing.T) {
	resourcetest.Suite(t, resourcetest.Kind{
		Name: "func on a pipe",
		Good: func(t testing.TB) resources.Use { return funcOnPipe(t, true) },
		Hang: func(t testing.TB) resources.Use { return funcOnPipe(t, false) },
	})
}

func funcOnPipe(t testing.TB, answers bool) resources.Use {
	near, far := net.Pipe()
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	work := func(context.Context) (byte, error) {
		if answers {
			go func() { _, _ = far.Write([]byte{'x'}) }() // ends with the pipe
		}
		var one [1]byte
		_, err := near.Read(one[:])
		return one[0], err
	}
	return resources.Of(resources.Func(work).Cleanup(near.Close))
}

func TestFuncSpecNamesTheFunction(t *testing.T) {
	f := resources.Func(funcWaits)
	spec, err := f.Spec()
	require.NoError(t, err)
	assert.Equal(t, resources.Spec{Kind: "func", Target: "func", Endpoint: "func", Unbounded: true}, spec)

	named, err := f.Named("nightly").Spec()
	require.NoError(t, err)
	assert.Equal(t, resources.Spec{Kind: "func", Target: "nightly", Endpoint: "nightly", Unbounded: true}, named)

	again, err := f.Spec()
	require.NoError(t, err)
	assert.Equal(t, spec, again, "a builder method changes a copy")
}

func TestFuncCopiesDoNotShareHooks(t *testing.T) {
	var ran [3]atomic.Int32
	hook := func(i int) func() error {
		return func() error { ran[i].Add(1); return nil }
	}
	base := resources.Func(funcWaits).Cleanup(hook(0))
	one, two := base.Cleanup(hook(1)), base.Cleanup(hook(2))
	resourcetest.Drive(t.Context(), resources.Of(one), funcBudget, nil)
	assert.EqualValues(t, []int32{1, 1, 0}, []int32{ran[0].Load(), ran[1].Load(), ran[2].Load()})
	resourcetest.Drive(t.Context(), resources.Of(two), funcBudget, nil)
	assert.EqualValues(t, []int32{2, 1, 1}, []int32{ran[0].Load(), ran[1].Load(), ran[2].Load()})
}

func TestFuncHookRunsOnAbortAlone(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx  context.Context
		work func(context.Context) (int, error)
		runs int32
	}{
		"expiry":                        {t.Context(), funcWaits, 1},
		"success":                       {t.Context(), func(context.Context) (int, error) { return 1, nil }, 0},
		"plain error":                   {t.Context(), func(context.Context) (int, error) { return 0, errFunc }, 0},
		"work that was not started":     {cancelled, funcWaits, 0},
		"expiry without a word from it": {t.Context(), func(ctx context.Context) (int, error) { <-ctx.Done(); return 1, nil }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			resourcetest.NothingLeft(t)
			var runs, worked atomic.Int32
			use := resources.Of(resources.Func(func(ctx context.Context) (int, error) {
				worked.Add(1)
				return c.work(ctx)
			}).Cleanup(func() error { runs.Add(1); return nil }))
			end := resourcetest.Drive(c.ctx, use, funcBudget, nil)
			assert.True(t, end.Back)
			if c.ctx.Err() != nil {
				assert.Zero(t, worked.Load())
			}
			assert.Equal(t, c.runs, runs.Load())
		})
	}
}

// The end may come between the registering of hooks and the start of the work.
func TestFuncHookNeverRunsForWorkThatDidNotStart(t *testing.T) {
	for range 300 {
		var runs, worked atomic.Int32
		use := resources.Of(resources.Func(func(ctx context.Context) (int, error) {
			worked.Add(1)
			return funcWaits(ctx)
		}).Cleanup(func() error { runs.Add(1); return nil }).Cleanup(func() error { return nil }))
		ctx, cancel := context.WithCancel(t.Context())
		go cancel() // ends at once
		end := resourcetest.Drive(ctx, use, timeoutpolicy.Budget{Limit: time.Minute}, nil)
		require.True(t, end.Back)
		if !end.Aborted {
			continue // the work came back before anybody noticed the end
		}
		require.Equal(t, worked.Load(), runs.Load())
	}
}

func TestFuncHandsOverAPartialValue(t *testing.T) {
	end := resourcetest.Drive(t.Context(), resources.Of(resources.Func(funcWaits)), funcBudget, nil)
	assert.True(t, end.Aborted)
	assert.Equal(t, 7, end.Value)
	assert.ErrorIs(t, end.Err, context.DeadlineExceeded)
}

func TestFuncHooksRunLastInFirstOut(t *testing.T) {
	var order []string
	use := resources.Func(funcWaits).
		Cleanup(func() error { order = append(order, "first"); return nil }).
		Cleanup(func() error { order = append(order, "second"); return errFunc })
	end := resourcetest.Drive(t.Context(), resources.Of(use), funcBudget, nil)
	assert.Equal(t, []string{"second", "first"}, order)
	assert.ErrorIs(t, end.Report.Err, errFunc)
	assert.Empty(t, end.Report.Left(), "a hook that failed has run")
}

func TestFuncHookHasAContextOfItsOwn(t *testing.T) {
	type key struct{}
	ctx := context.WithValue(t.Context(), key{}, "value")
	use := resources.Func(funcWaits).CleanupContext(func(ctx context.Context) error {
		assert.NoError(t, ctx.Err(), "the operation's context has ended, the hook's has not")
		assert.Equal(t, "value", ctx.Value(key{}))
		return nil
	})
	end := resourcetest.Drive(ctx, resources.Of(use), funcBudget, nil)
	assert.NoError(t, end.Report.Err)
	require.Len(t, end.Report.Released, 1)
	assert.Equal(t, "hook", end.Report.Released[0].How)
}

func TestFuncHookThatHangsIsToldToGiveUp(t *testing.T) {
	resourcetest.NothingLeft(t)
	use := resources.Func(funcWaits).CleanupContext(func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	})
	b := timeoutpolicy.Budget{Limit: 20 * time.Millisecond, Grace: 30 * time.Millisecond, Force: 10 * time.Second}
	plain := resourcetest.PlainTimer(b.Limit + b.Grace)
	end := resourcetest.Drive(t.Context(), resources.Of(use), b, nil)
	assert.LessOrEqual(t, end.Late-b.Grace, <-plain+50*time.Millisecond)
	assert.ErrorIs(t, end.Report.Err, context.Canceled)
	assert.Empty(t, end.Report.Left())
}

func TestFuncThatDoesNotReturnIsALeftoverUntilItDoes(t *testing.T) {
	resourcetest.NothingLeft(t)
	stop := make(chan struct{})
	use := resources.Of(resources.Func(func(context.Context) (int, error) { <-stop; return 0, nil }))
	b := timeoutpolicy.Budget{Limit: 20 * time.Millisecond, Grace: 20 * time.Millisecond, Force: timeoutpolicy.None}
	plain := resourcetest.PlainTimer(b.Limit + b.Grace)
	end := resourcetest.Drive(t.Context(), use, b, nil)
	assert.LessOrEqual(t, end.Late-b.Grace, <-plain+50*time.Millisecond)
	assert.False(t, end.Back)
	require.Len(t, end.Report.Remains, 1)
	assert.Equal(t, "goroutine", end.Report.Remains[0].Left[0].What)
	close(stop)
	<-end.Report.Remains[0].Gone
}

func TestFuncPanicIsContained(t *testing.T) {
	end := resourcetest.Drive(t.Context(), resources.Of(resources.Func(func(context.Context) (int, error) { panic(errFunc) })), funcBudget, nil)
	var p *resources.Panicked
	require.ErrorAs(t, end.Err, &p)
	assert.ErrorIs(t, end.Err, errFunc)
}

// A function is on the way of every call: what it costs is its interface.
func TestFuncDoesNotAllocate(t *testing.T) {
	f := resources.Func(func(context.Context) (int, error) { return 7, nil })
	ctx := t.Context()
	var keeper resources.Keeper
	held := keeper.Begin(nil)
	assert.Zero(t, testing.AllocsPerRun(100, func() { _, _ = f.Spec() }))
	assert.Zero(t, testing.AllocsPerRun(100, func() { _, _ = f.Run(ctx, held) }))
}
