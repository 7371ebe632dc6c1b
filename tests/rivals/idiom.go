package main

import (
	"context"
	"time"
)

// What the tables call the contenders that are in many of them.
const (
	curfew   = "Curfew"
	idiom    = "context + goroutine + select"
	failSafe = "failsafe-go"
	future   = "protoactor: spawn + future"
)

// bySelect is what one would write by hand: it runs work on a goroutine and leaves it
// behind when the time is over.
func bySelect[T any](ctx context.Context, limit time.Duration, work func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	type outcome struct {
		value T
		err   error
	}
	done := make(chan outcome, 1)
	go func() { // nobody waits for it: that is the idiom
		v, err := work(ctx)
		done <- outcome{v, err}
	}()
	select {
	case o := <-done:
		return o.value, o.err
	case <-ctx.Done():
		var zero T
		return zero, ctx.Err()
	}
}
