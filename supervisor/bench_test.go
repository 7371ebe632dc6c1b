package supervisor_test

import (
	"context"
	"testing"
	"time"

	"curfew.example/resources"
	"curfew.example/supervisor"
	"curfew.example/timeoutpolicy"
)

// BenchmarkDo is the price of supervision for a function that returns at once; beside it
// what one would write by hand.
func BenchmarkDo(b *testing.B) {
	sup, err := supervisor.Start(supervisor.WithPolicy(timeoutpolicy.Fixed(time.Second)))
	if err != nil {
		b.Fatal(err)
	}
	defer sup.Close()
	work := resources.Func(func(context.Context) (int, error) { return 7, nil })
	b.ReportAllocs()
	for b.Loop() {
		if _, err := supervisor.Do(context.Background(), sup, work); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkContextGoroutineSelect(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		done := make(chan int, 1)
		go func() { done <- 7 }()
		select {
		case <-done:
		case <-ctx.Done():
			b.Fatal(ctx.Err())
		}
		cancel()
	}
}
