package supervisor_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/resources"
	"curfew.example/supervisor"
)

// TestWhatAnExpirySaysStaysTrue has many requests expire at once and one after another, each
// with a hook that fails in its own words: what a release took is used again for the next.
func TestWhatAnExpirySaysStaysTrue(t *testing.T) {
	type told struct {
		name, text string
		err        error
		ctx        context.Context
		receipt    supervisor.Receipt
	}
	const each = 50
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		var all [20][each]told
		var wait sync.WaitGroup
		for i := range all {
			wait.Go(func() {
				for j := range each {
					tell := &all[i][j]
					tell.name = fmt.Sprint("request ", i, ".", j)
					work := resources.Func(func(ctx context.Context) (int, error) {
						tell.ctx = ctx
						<-ctx.Done()
						return 0, nil
					}).Named(tell.name).Cleanup(func() error {
						time.Sleep(time.Millisecond)
						return errors.New("hook of " + tell.name)
					})
					_, tell.err = supervisor.Do(t.Context(), sup, work, supervisor.Within(time.Second), supervisor.WithReceipt(&tell.receipt))
					tell.text = fmt.Sprint(tell.err)
				}
			})
		}
		wait.Wait()
		for i := range all {
			for j := range all[i] {
				tell := &all[i][j]
				assert.Equal(t, tell.text, fmt.Sprint(tell.err))
				assert.Contains(t, tell.text, "hook of "+tell.name)
				expired, ok := errors.AsType[*supervisor.Expired](tell.err)
				if !assert.True(t, ok) {
					continue
				}
				got := *expired.Receipt
				assert.Equal(t, tell.name, got.Target)
				if assert.Len(t, got.Cleanup.Released, 1) {
					assert.EqualError(t, got.Cleanup.Released[0].Err, "hook of "+tell.name)
				}
				got.Error = tell.receipt.Error
				assert.Equal(t, tell.receipt, got)
				cause := (&supervisor.Expired{Receipt: expired.Receipt}).Error()
				assert.EqualError(t, context.Cause(tell.ctx), cause, "the cause of the operation's context")
			}
		}
	})
}

func TestToAskWhetherARequestExpiredOrWasCancelledMakesNoGarbage(t *testing.T) {
	for err, kind := range map[error]error{
		&supervisor.Expired{Receipt: &supervisor.Receipt{}, Cause: errWork}:   context.DeadlineExceeded,
		&supervisor.Cancelled{Receipt: &supervisor.Receipt{}, Cause: errWork}: context.Canceled,
	} {
		assert.Zero(t, testing.AllocsPerRun(100, func() { assert.True(t, errors.Is(err, kind)) }))
		assert.ErrorIs(t, err, errWork)
		assert.NotErrorIs(t, err, context.Cause(t.Context()))
	}
}

func TestTheReceiptsOfWhatWasCancelledBeforeItBeganAgree(t *testing.T) {
	sup, err := supervisor.Start()
	require.NoError(t, err)
	defer func() { _ = sup.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var got supervisor.Receipt
	_, err = supervisor.Do(ctx, sup, obedient(0), supervisor.Within(time.Second), supervisor.WithReceipt(&got))
	cancelled, ok := errors.AsType[*supervisor.Cancelled](err)
	require.True(t, ok)
	want := *cancelled.Receipt
	want.Error = got.Error
	assert.Equal(t, want, got)
}
