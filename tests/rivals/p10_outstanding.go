package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"curfew.example/actors"
	"curfew.example/resources"
	"curfew.example/supervisor"
	"curfew.example/timeoutpolicy"
)

// The figures of P10.
const (
	memoryEach = "memory each"
	keptEach   = "kept afterwards, each"
)

// memoryGuess is what an outstanding request may take of memory at the most: a count that
// does not fit is left out.
const memoryGuess = 12 << 10

// outstanding is P10: requests that are under way and wait.
func outstanding() benchmark {
	return benchmark{"P10", "outstanding requests under a limit of 10 min, all answered in the end", func(s *suite) (*trial, error) {
		const limit = 10 * time.Minute
		counts := []int{1_000, 10_000, 100_000, 1_000_000}
		if s.short {
			counts = counts[:2]
		}
		system := actors.NewSystem(nil)
		sup, err := supervisor.Start(supervisor.WithPolicy(timeoutpolicy.Fixed(limit)), supervisor.Under(system.Root))
		if err != nil {
			return nil, err
		}
		t := &trial{cold: true, roundsMax: 3, close: func() {
			_ = sup.Close()
			system.Shutdown()
		}}
		byMessage := func(n int) string { return fmt.Sprintf("%s by message, %d", curfew, n) }
		byDo := func(n int) string { return fmt.Sprintf("%s, a goroutine in Do, %d", curfew, n) }
		selecting := func(n int) string { return fmt.Sprintf("%s, %d", idiom, n) }
		most := counts[0]
		for _, n := range counts {
			if need, have := int64(n)*memoryGuess, memoryBytes("MemAvailable"); need > have {
				t.notes = append(t.notes, fmt.Sprintf("**%d were not measured:** that may take %s, and %s is free.",
					n, bytesText(float64(need)), bytesText(float64(have))))
				continue
			}
			most = n
			t.contenders = append(t.contenders,
				contender{byMessage(n), func(ctx context.Context) (readings, error) { return pileUp(ctx, n, messages(system, sup)) }},
				contender{byDo(n), func(ctx context.Context) (readings, error) {
					return pileUp(ctx, n, callers(func(ctx context.Context, work func(context.Context) (int, error)) error {
						return seven(supervisor.Do(ctx, sup, resources.Func(work)))
					}))
				}},
				contender{selecting(n), func(ctx context.Context) (readings, error) {
					return pileUp(ctx, n, callers(func(ctx context.Context, work func(context.Context) (int, error)) error {
						return seven(bySelect(ctx, limit, work))
					}))
				}})
			t.goals = append(t.goals, value(byMessage(n), memoryEach, bytesOf).atMost(4000, 0))
		}
		makeDescriptors(2 * most)
		same := func(name func(int) string) goal { return ratio(cpu, name(most), name(counts[0])).atMost(1.5, 0) }
		t.notes = append(t.notes, "By message nobody waits: an outstanding request is its actor, its runner's goroutine and its timer. "+
			"With a goroutine in Do it has that goroutine's stack as well. CPU time includes the collector's. "+
			"The Go runtime keeps a descriptor of each goroutine there ever was at once, half a kilobyte: as many as are needed are made before.")
		t.goals = append(t.goals, same(byMessage), same(byDo), value(byMessage(most), keptEach, bytesOf).atMost(40, 200))
		return t, nil
	}}
}

// makeDescriptors has the Go runtime make what it keeps for ever of n goroutines that there
// are at once. Else whoever is first with so many would seem to keep it.
func makeDescriptors(n int) {
	release := make(chan struct{})
	var all sync.WaitGroup
	for range n {
		all.Go(func() { <-release })
	}
	close(release)
	all.Wait()
	debug.FreeOSMemory()
}

// pile submits n requests that run work and returns at once; wait returns when all have been
// answered, with the first error.
type pile func(ctx context.Context, n int, work func(context.Context) (int, error)) (wait func() error)

// pileUp measures n requests under way. A few are piled up again and again, so that what a
// turn takes can be measured.
func pileUp(ctx context.Context, n int, submit pile) (readings, error) {
	turns := max(1, 20_000/n)
	var used time.Duration
	var each, kept float64
	for range turns {
		before := inUse()
		release := make(chan struct{})
		var begun atomic.Int64
		work := func(context.Context) (int, error) {
			begun.Add(1)
			<-release
			return 7, nil
		}
		start := processorTime(false)
		wait := submit(ctx, n, work)
		for begun.Load() < int64(n) {
			time.Sleep(100 * time.Microsecond)
		}
		used += processorTime(false) - start
		each = float64(inUse()-before) / float64(n)
		start = processorTime(false)
		close(release)
		if err := wait(); err != nil {
			return nil, err
		}
		used += processorTime(false) - start
		kept = float64(inUse()-before) / float64(n)
	}
	debug.FreeOSMemory()
	return readings{
		{cpu, float64(used) / float64(n*turns), nanoseconds},
		{memoryEach, each, bytesOf},
		{keptEach, max(0, kept), bytesOf},
	}, nil
}

// inUse is the memory that heap and stacks have in use after a collection.
func inUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// callers has a goroutine wait for each request.
func callers(do func(context.Context, func(context.Context) (int, error)) error) pile {
	return func(ctx context.Context, n int, work func(context.Context) (int, error)) func() error {
		answers := make(chan error, n)
		for range n {
			go func() { answers <- do(ctx, work) }()
		}
		return func() (err error) {
			for range n {
				if e := <-answers; e != nil {
					err = e
				}
			}
			return err
		}
	}
}

// messages has one actor send all requests: nobody waits for any of them.
func messages(system *actor.ActorSystem, sup *supervisor.Supervisor) pile {
	return func(_ context.Context, n int, work func(context.Context) (int, error)) func() error {
		use := resources.Of(resources.Func(work))
		done := make(chan error, 1)
		answered := 0
		var failed error
		pid := system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
			switch msg := c.Message().(type) {
			case *actor.Started:
				for i := range n {
					c.Request(sup.PID(), &actors.Request{ID: uint64(i), Use: use})
				}
			case *actors.Response:
				if err := seven(actors.As[int](msg)); err != nil {
					failed = err
				}
				if answered++; answered == n {
					done <- failed
				}
			}
		}))
		return func() error {
			err := <-done
			_ = system.Root.StopFuture(pid).Wait()
			return err
		}
	}
}
