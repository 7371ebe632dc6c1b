// Soak drives every kind of resource through every fault for a set time, and prints what
// the process holds at the start and at the end: descriptors, goroutines, children, memory.
// It exits with 1 when something has grown, or an answer came too late.
//
//	go run ./tests/soak -for 20m
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"curfew.example/resources"
	"curfew.example/supervisor"
	"curfew.example/timeoutpolicy"
)

func main() {
	length := flag.Duration("for", time.Minute, "how long to drive")
	workers := flag.Int("workers", 16, "how many callers at once")
	seed := flag.Uint64("seed", 0, "seed of the choices; 0 draws one")
	flag.Parse()
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(soak(ctx, *length, *workers, *seed))
}

// slack is how late an answer may be on a machine that is busy with the soak itself.
const slack = 500 * time.Millisecond

// limits are short, so that faults outnumber waits.
const (
	limit = 200 * time.Millisecond
	grace = 200 * time.Millisecond
	force = 300 * time.Millisecond
)

func soak(ctx context.Context, length time.Duration, workers int, seed uint64) int {
	peers, err := listen()
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		return 2
	}
	defer peers.close()
	sup, err := supervisor.Start(supervisor.WithPolicy(timeoutpolicy.Compose(
		timeoutpolicy.Fixed(limit), timeoutpolicy.Grace(grace), timeoutpolicy.Force(force))))
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		return 2
	}
	d := &driver{sup: sup, faults: faults(peers), tally: make(map[string]*count)}
	for _, f := range d.faults {
		d.tally[f.name] = &count{}
	}
	d.drive(ctx, 2*time.Second, workers, seed) // what is made once is made
	start := settled()
	fmt.Printf("seed %d, %d callers, %s, %s\n\n| | descriptors | goroutines | children | heap MB | resident MB |\n|---|---|---|---|---|---|\n",
		seed, workers, length, runtime.Version())
	fmt.Println(start.row("start"))
	d.drive(ctx, length, workers, seed+1)
	end := settled()
	fmt.Println(end.row("end"))
	left := sup.Leftovers()
	closeErr := sup.Close()
	d.report(length)
	fmt.Printf("\nleftovers at the end: %d; latest answer: %s after its limit and clean-up; close: %v\n",
		len(left), time.Duration(d.latest.Load()).Round(100*time.Microsecond), closeErr)
	if end.grownFrom(start) || len(left) > 0 || closeErr != nil || time.Duration(d.latest.Load()) > slack {
		fmt.Println("FAILED")
		return 1
	}
	return 0
}

// driver makes requests.
type driver struct {
	sup    *supervisor.Supervisor
	faults []fault
	tally  map[string]*count
	latest atomic.Int64 // most that an answer was late by, ns
}

// count is what became of the requests of one fault.
type count struct{ done, expired, other atomic.Int64 }

// fault is one way for a use to go.
type fault struct {
	name string
	run  func(context.Context, *supervisor.Supervisor) error
}

func use[T any](name string, r resources.Resource[T]) fault {
	return fault{name, func(ctx context.Context, sup *supervisor.Supervisor) error {
		_, err := supervisor.Do(ctx, sup, r)
		return err
	}}
}

// drive runs random faults on some goroutines until the time is over.
func (d *driver) drive(ctx context.Context, length time.Duration, workers int, seed uint64) {
	ctx, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(w)))
			for ctx.Err() == nil {
				d.one(rng)
			}
		})
	}
	all.Wait()
}

// one makes one request; one in ten is cancelled by its caller.
func (d *driver) one(rng *rand.Rand) {
	f := d.faults[rng.IntN(len(d.faults))]
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if rng.IntN(10) == 0 {
		timer := time.AfterFunc(rand.N(limit), cancel)
		defer timer.Stop()
	}
	start := time.Now()
	err := f.run(ctx, d.sup)
	late := time.Since(start) - (limit + grace + force)
	for most := d.latest.Load(); int64(late) > most && !d.latest.CompareAndSwap(most, int64(late)); {
		most = d.latest.Load()
	}
	n := d.tally[f.name]
	switch {
	case err == nil:
		n.done.Add(1)
	case errors.Is(err, context.DeadlineExceeded):
		n.expired.Add(1)
	default:
		n.other.Add(1)
	}
}

func (d *driver) report(length time.Duration) {
	names := make([]string, 0, len(d.tally))
	for name := range d.tally {
		names = append(names, name)
	}
	slices.Sort(names)
	fmt.Print("\n| fault | completed | expired | failed, cancelled |\n|---|---|---|---|\n")
	total := int64(0)
	for _, name := range names {
		n := d.tally[name]
		total += n.done.Load() + n.expired.Load() + n.other.Load()
		fmt.Printf("| %s | %d | %d | %d |\n", name, n.done.Load(), n.expired.Load(), n.other.Load())
	}
	fmt.Printf("\n%d requests in %s\n", total, length)
}
