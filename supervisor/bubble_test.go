package supervisor_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"curfew.example/resources"
	"curfew.example/supervisor"
)

// bubble runs f with a supervisor in fake time, and closes it.
func bubble(t *testing.T, f func(t *testing.T, sup *supervisor.Supervisor), options ...supervisor.StartOption) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		sup, err := supervisor.Start(options...)
		require.NoError(t, err)
		f(t, sup)
		_ = sup.Close()
		time.Sleep(time.Minute) // what a test left behind lets go within this
	})
}

// use is a resource put together by a test.
type use struct {
	spec resources.Spec
	run  func(context.Context, *resources.Held) (int, error)
}

// Spec implements resources.Resource.
func (u use) Spec() (resources.Spec, error) {
	if u.spec.Kind == "" {
		u.spec = resources.Spec{Kind: "test", Target: "target", Endpoint: "endpoint"}
	}
	return u.spec, nil
}

// Run implements resources.Resource.
func (u use) Run(ctx context.Context, held *resources.Held) (int, error) { return u.run(ctx, held) }

// obedient waits for d, or for the end of its context.
func obedient(d time.Duration) use {
	return use{run: func(ctx context.Context, held *resources.Held) (int, error) {
		held.Opened()
		select {
		case <-time.After(d):
			return 1, nil
		case <-ctx.Done():
			return 2, ctx.Err()
		}
	}}
}

// deaf waits for d, whatever happens.
func deaf(d time.Duration) use {
	return use{run: func(_ context.Context, held *resources.Held) (int, error) {
		held.Opened()
		time.Sleep(d)
		return 3, nil
	}}
}
