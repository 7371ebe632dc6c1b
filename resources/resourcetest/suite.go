package resourcetest

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/resources"
	"curfew.example/timeoutpolicy"
)

// Kind is a kind of resource, as the suite needs it.
type Kind struct {
	// Name names the subtest.
	Name string

	// Good makes a use that ends well, soon, and the peer it needs, which t.Cleanup
	// ends.
	Good func(t testing.TB) resources.Use

	// Hang makes a use that does not end by itself: its peer never answers.
	Hang func(t testing.TB) resources.Use

	// Fail makes a use that fails by itself, soon: its peer refuses. May be nil.
	Fail func(t testing.TB) resources.Use

	// FailsWith is found in Fail's error by errors.Is. May be nil.
	FailsWith error

	// Bad are uses that Spec has to refuse.
	Bad []resources.Use

	// Check looks at what Good returns. May be nil.
	Check func(t testing.TB, value any)

	// Secrets are texts that the uses contain and that nobody may get to see.
	Secrets []string

	// Slack is how much later than a plain timer an answer may come. 0 is 50 ms.
	Slack time.Duration

	// AtOnce is how many of Good run at the same time. 0 is 50.
	AtOnce int
}

// hangTime is the limit that uses which hang are given.
const hangTime = 150 * time.Millisecond

// Suite is what every kind of resource has to pass: that its Spec is pure and refuses bad
// input, that its uses end when they are to, on time, whatever they wait for, and that
// nothing is left of them: no goroutine, and on Linux no descriptor and no child.
func Suite(t *testing.T, k Kind) {
	for name, test := range map[string]func(*testing.T, Kind){
		"spec is pure and stable":               specIsPure,
		"spec refuses bad input":                specRefuses,
		"a good use completes":                  goodCompletes,
		"a failing use says why":                failSaysWhy,
		"a hanging use expires on time":         hangExpires,
		"a hanging use is cancelled on time":    hangIsCancelled,
		"nothing is opened after the end":       endedOpensNothing,
		"what is opened too late cannot escape": lateOpenCannotEscape,
		"an end at any moment leaves nothing":   anyMoment,
		"many at once leave nothing":            manyAtOnce,
	} {
		t.Run(k.Name+"/"+name, func(t *testing.T) {
			NothingLeft(t)
			test(t, k)
		})
	}
}

func specIsPure(t *testing.T, k Kind) {
	for _, use := range []resources.Use{k.Good(t), k.Hang(t)} {
		spec, err := use.Spec()
		require.NoError(t, err)
		assert.NotEmpty(t, spec.Kind)
		assert.NotEmpty(t, spec.Target)
		assert.NotEmpty(t, spec.Endpoint)
		k.keepsSecrets(t, spec)

		var callers sync.WaitGroup
		for range 8 {
			callers.Go(func() { // waited for below
				again, err := use.Spec()
				assert.NoError(t, err)
				assert.Equal(t, spec, again)
			})
		}
		callers.Wait()
	}
}

func specRefuses(t *testing.T, k Kind) {
	for i, use := range k.Bad {
		_, err := use.Spec()
		var invalid *resources.Invalid
		if assert.ErrorAs(t, err, &invalid, "bad use %d", i) {
			assert.NotEmpty(t, invalid.Kind)
			assert.NotEmpty(t, invalid.Field)
			assert.NotEmpty(t, invalid.Why)
			k.keepsSecrets(t, err)
		}
	}
}

func goodCompletes(t *testing.T, k Kind) {
	k.completes(t, Drive(t.Context(), k.Good(t), timeoutpolicy.Budget{Limit: 10 * time.Second}, nil))

	shelf := &resources.Shelf{}
	for range 3 {
		k.completes(t, Drive(t.Context(), k.Good(t), timeoutpolicy.Budget{Limit: 10 * time.Second}, shelf))
	}
	assert.NoError(t, shelf.Close())
}

func failSaysWhy(t *testing.T, k Kind) {
	if k.Fail == nil {
		t.Skip("the kind has no use that fails")
	}
	end := Drive(t.Context(), k.Fail(t), timeoutpolicy.Budget{Limit: 10 * time.Second}, nil)
	k.leavesNothing(t, end)
	assert.False(t, end.Aborted, "it fails by itself")
	if assert.Error(t, end.Err) && k.FailsWith != nil {
		assert.ErrorIs(t, end.Err, k.FailsWith)
	}
}

func hangExpires(t *testing.T, k Kind) {
	k.endsOnTime(t, func(use resources.Use) End {
		return Drive(t.Context(), use, timeoutpolicy.Budget{Limit: hangTime}, nil)
	})
}

func hangIsCancelled(t *testing.T, k Kind) {
	k.endsOnTime(t, func(use resources.Use) End {
		ctx, cancel := context.WithCancel(t.Context())
		defer time.AfterFunc(hangTime, cancel).Stop()
		return Drive(ctx, use, timeoutpolicy.Budget{Limit: time.Minute}, nil)
	})
}

// endsOnTime checks the end of a use that hangs and is ended after hangTime. The machine
// may be busy: the best of three counts for the lateness, and each for all the rest.
func (k Kind) endsOnTime(t *testing.T, drive func(resources.Use) End) {
	t.Helper()
	slack := cmp.Or(k.Slack, 50*time.Millisecond)
	for attempt := 1; ; attempt++ {
		use := k.Hang(t)
		timer, due := PlainTimer(hangTime), time.Now().Add(hangTime)
		end := drive(use)
		late, plain := time.Since(due), <-timer
		k.leavesNothing(t, end)
		assert.Error(t, end.Err)
		// Its own error may come a moment before: the network has timers too.
		assert.Greater(t, late, -10*time.Millisecond, "it ended by itself: %v", end.Err)
		if late <= plain+slack {
			return
		}
		if attempt == 3 {
			assert.LessOrEqual(t, late, plain+slack, "too late: a plain timer was %v late", plain)
			return
		}
	}
}

func endedOpensNothing(t *testing.T, k Kind) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, use := range []resources.Use{k.Good(t), k.Hang(t)} {
		var keeper resources.Keeper
		err := k.comesBack(t, ctx, use, keeper.Begin(nil), 0)
		assert.Error(t, err)
		assert.False(t, keeper.Seal(true), "something was opened: %+v", keeper.Release(time.Second, time.Second))
	}
}

// Here the end overtakes the opening: what the use registers is closed at once.
func lateOpenCannotEscape(t *testing.T, k Kind) {
	for _, use := range []resources.Use{k.Hang(t), k.Good(t)} {
		ctx, cancel := context.WithTimeout(t.Context(), hangTime)
		var keeper resources.Keeper
		held := keeper.Begin(nil)
		keeper.Seal(true)
		_ = k.comesBack(t, ctx, use, held, hangTime)
		assert.Empty(t, keeper.Release(0, 0).Released)
		cancel()
	}
}

// soon is how long something may take that is not a matter of time.
const soon = 5 * time.Second

// comesBack runs use, which nobody closes anything under, and waits for it: little
// longer than wait.
func (k Kind) comesBack(t *testing.T, ctx context.Context, use resources.Use, held *resources.Held, wait time.Duration) error {
	t.Helper()
	done := make(chan error, 1)
	go resources.Guard(func() error { // waited for below; a use that does not come back fails the test
		_, err := use.Run(ctx, held)
		return err
	}, func(err error) { done <- err })
	select {
	case err := <-done:
		k.keepsSecrets(t, err)
		return err
	case <-time.After(wait + soon):
		require.Fail(t, "the use has not come back")
		return nil
	}
}

// anyMoment ends good uses at moments spread over their own length.
func anyMoment(t *testing.T, k Kind) {
	const moments = 20
	began := time.Now()
	k.completes(t, Drive(t.Context(), k.Good(t), timeoutpolicy.Budget{Limit: 10 * time.Second}, nil))
	length := time.Since(began)
	for i := range moments {
		limit := max(1, length*time.Duration(i)/moments)
		end := Drive(t.Context(), k.Good(t), timeoutpolicy.Budget{Limit: limit}, nil)
		k.leavesNothing(t, end)
		assert.Less(t, end.Late, soon)
	}
}

func manyAtOnce(t *testing.T, k Kind) {
	uses := make([]resources.Use, cmp.Or(k.AtOnce, 50))
	for i := range uses {
		uses[i] = k.Good(t)
	}
	shelf := &resources.Shelf{}
	var running sync.WaitGroup
	var completed atomic.Int64
	for _, use := range uses {
		running.Go(func() { // waited for below
			end := Drive(t.Context(), use, timeoutpolicy.Budget{Limit: 30 * time.Second}, shelf)
			if k.completes(t, end) {
				completed.Add(1)
			}
		})
	}
	running.Wait()
	assert.NoError(t, shelf.Close())
	assert.EqualValues(t, len(uses), completed.Load())
}

// completes checks the end of a good use.
func (k Kind) completes(t *testing.T, end End) bool {
	t.Helper()
	k.leavesNothing(t, end)
	ok := assert.NoError(t, end.Err) && assert.False(t, end.Aborted, "it was to end by itself")
	if ok && k.Check != nil {
		k.Check(t, end.Value)
	}
	return ok
}

// leavesNothing checks what is the same for all ends.
func (k Kind) leavesNothing(t *testing.T, end End) {
	t.Helper()
	assert.True(t, end.Back, "the use has not come back")
	assert.Empty(t, end.Report.Left())
	assert.NoError(t, end.Report.Err)
	k.keepsSecrets(t, end.Err)
	k.keepsSecrets(t, *end.Report)
}

// keepsSecrets checks that v, printed, contains no secret.
func (k Kind) keepsSecrets(t *testing.T, v any) {
	t.Helper()
	text := fmt.Sprintf("%v %+v", v, v)
	for _, secret := range k.Secrets {
		if strings.Contains(text, secret) {
			t.Errorf("a secret is shown in %T", v)
		}
	}
}
