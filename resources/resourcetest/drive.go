// Package resourcetest tests kinds of resource: a runtime in miniature that runs
// one use with a budget, and the conformance suite that each kind passes.
package resourcetest

import (
	"context"
	"time"

	"curfew.example/resources"
	"curfew.example/timeoutpolicy"
)

// End is how a driven use ended.
type End struct {
	Value   any
	Err     error // the runner's own
	Aborted bool  // the limit or the context ended it
	Back    bool  // the runner came back
	Report  *resources.Report
	Late    time.Duration // from the deadline until all was released; 0 when not aborted
}

// Drive runs use as the runtime does: one deadline, a context that ends with it, and
// the release of all that was held, whatever the outcome. Zero Grace and Force are
// the defaults. shelf may be nil.
func Drive(ctx context.Context, use resources.Use, b timeoutpolicy.Budget, shelf *resources.Shelf) End {
	deadline := time.Now().Add(b.Limit)
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()

	var keeper resources.Keeper
	held := keeper.Begin(shelf)
	keeper.Expect(orDefault(b.Grace, timeoutpolicy.DefaultGrace), orDefault(b.Force, timeoutpolicy.DefaultForce))
	ctx = context.WithValue(ctx, resources.HeldKey{}, held)
	end, runner := End{}, make(chan struct{})
	keeper.Out()
	go resources.Guard(func() (err error) {
		end.Value, err = use.Run(ctx, held)
		return err
	}, func(err error) {
		end.Err = err
		close(runner)
		keeper.Back()
	})

	select {
	case <-runner:
		// As in the runtime: an error at or after the end counts as the end. A guard may be
		// there before the context's timer is.
		end.Aborted = end.Err != nil && (ctx.Err() != nil || !time.Now().Before(deadline))
	case <-ctx.Done():
		end.Aborted = true
	}
	keeper.Seal(end.Aborted)
	report := keeper.Release(orDefault(b.Grace, timeoutpolicy.DefaultGrace), orDefault(b.Force, timeoutpolicy.DefaultForce))
	late := time.Since(deadline)
	select {
	case <-runner:
		end.Back = true
	default:
		// The runner still owns the value: nothing of it may be read.
		return End{Aborted: end.Aborted, Report: report, Late: late}
	}
	end.Report = report
	if end.Aborted {
		end.Late = late
	}
	return end
}

func orDefault(d, def time.Duration) time.Duration {
	if d == 0 {
		return def
	}
	return d
}
