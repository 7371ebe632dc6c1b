package main

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"curfew.example/resources"
	"curfew.example/supervisor"
	"curfew.example/timeoutpolicy"
)

// scaling is P11: whether more processors do more, and whether one endpoint holds them up.
func scaling() benchmark {
	return benchmark{"P11", "64 callers of functions that return at once: processors and endpoints", func(s *suite) (*trial, error) {
		sup, err := supervisor.Start(supervisor.WithPolicy(timeoutpolicy.Fixed(time.Minute)))
		if err != nil {
			return nil, err
		}
		ops := s.scale(200_000, 40_000)
		counts := []int{1}
		for n := 2; n <= runtime.NumCPU(); n *= 2 {
			counts = append(counts, n)
		}
		name := func(processors, endpoints int) string {
			return fmt.Sprintf("GOMAXPROCS %d, endpoints %d", processors, endpoints)
		}
		t := &trial{close: func() { _ = sup.Close() }}
		for _, endpoints := range [...]int{1, 1_000} {
			uses := make([]resources.Function[int], endpoints)
			for i := range uses {
				uses[i] = resources.Func(func(context.Context) (int, error) { return 7, nil }).Named(fmt.Sprint("f", i))
			}
			for _, n := range counts {
				c := crowd(name(n, endpoints), 64, ops, func(ctx context.Context, i int) error {
					return seven(supervisor.Do(ctx, sup, uses[i%endpoints]))
				})
				t.contenders = append(t.contenders, contender{c.name, func(ctx context.Context) (readings, error) {
					defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(n))
					return c.run(ctx)
				}})
			}
		}
		for i, n := range counts {
			if i > 0 {
				t.goals = append(t.goals, ratio(rate, name(n, 1), name(counts[i-1], 1)).noLess(1.5, 1.1))
			}
			t.goals = append(t.goals, ratio(rate, name(n, 1), name(n, 1_000)).noLess(0.9, 0.75))
		}
		if len(counts) == 1 {
			t.notes = append(t.notes, "**There is one processor: nothing can be said of more.**")
		}
		return t, nil
	}}
}
