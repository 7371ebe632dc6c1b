package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// benchmark is one row of the table: one kind of work, done by Curfew and by its rivals.
type benchmark struct {
	id, work string
	setup    func(*suite) (*trial, error)
}

// trial is a benchmark that has been set up: everything is built, started and connected.
type trial struct {
	contenders []contender
	goals      []goal
	notes      []string // for the reader of the table: what was left out, and why
	cold       bool     // without a warm-up round
	roundsMax  int      // fewer rounds than the suite's, where one takes long; 0 is no such bound
	roundsMin  int      // more rounds than the suite's, where they differ a lot; not in the short form
	close      func()   // may be nil
}

// contender does the work its own way, once a round, and says what it took.
type contender struct {
	name string
	run  func(context.Context) (readings, error)
}

// readings are what one contender's turn took, in the order in which the table shows them.
type readings []reading

// reading is one figure.
type reading struct {
	what  string
	value float64
	unit  unit
}

// get finds a figure.
func (r readings) get(what string) (float64, bool) {
	for _, one := range r {
		if one.what == what {
			return one.value, true
		}
	}
	return 0, false
}

// round is one turn of each contender, by name.
type round map[string]readings

// result is what became of a benchmark.
type result struct {
	benchmark
	*trial
	rounds []round
	noise  []float64 // others' share of the machine, of each round that counts
	noisy  int       // rounds thrown away
	loud   bool      // the rounds that count are noisy too: there were no quiet ones
	failed error
}

// suite runs benchmarks.
type suite struct {
	short    bool
	rounds   int
	noiseMax float64
	turns    string // only contenders whose name begins so
	progress io.Writer

	dir    string // for what is built; removed at the end
	curfew string // path of the curfew program
	noCLI  error  // why there is none
	peer   *peer
}

// scale picks the size of a benchmark.
func (s *suite) scale(full, short int) int {
	if s.short {
		return short
	}
	return full
}

// prepare builds the curfew program and starts the peer process.
func (s *suite) prepare(ctx context.Context) (err error) {
	if s.dir, err = os.MkdirTemp("", "rivals"); err != nil {
		return err
	}
	if s.curfew == "" {
		s.curfew, s.noCLI = buildCurfew(ctx, s.dir)
	}
	if s.peer, err = startPeer(); err != nil {
		_ = os.RemoveAll(s.dir)
	}
	return err
}

// buildCurfew builds the program in the product's own module, two directories up: what only
// it needs is not in ours. It is built as the README says, without cgo.
func buildCurfew(ctx context.Context, dir string) (string, error) {
	bin := filepath.Join(dir, "curfew")
	build := exec.CommandContext(ctx, "go", "build", "-C", filepath.Join("..", ".."), "-o", bin, "./cmd/curfew")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build ./cmd/curfew: %w: %s", err, out)
	}
	return bin, nil
}

func (s *suite) close() {
	s.peer.stop()
	_ = os.RemoveAll(s.dir)
}

// run runs the benchmarks one after the other. One that fails is in the results, and the
// others go on; the error is that of ctx.
func (s *suite) run(ctx context.Context, chosen []benchmark) ([]*result, error) {
	var results []*result
	for _, b := range chosen {
		if ctx.Err() != nil {
			return results, ctx.Err()
		}
		fmt.Fprintf(s.progress, "%s %s\n", b.id, b.work)
		r := &result{benchmark: b, trial: &trial{}}
		results = append(results, r)
		t, err := b.setup(s)
		if err != nil {
			r.failed = err
			fmt.Fprintln(s.progress, "   ", err)
			continue
		}
		t.contenders = slices.DeleteFunc(t.contenders, func(c contender) bool { return !strings.HasPrefix(c.name, s.turns) })
		r.trial = t
		if r.failed = s.measure(ctx, r); r.failed != nil {
			fmt.Fprintln(s.progress, "   ", r.failed)
		}
		if t.close != nil {
			t.close()
		}
	}
	return results, ctx.Err()
}

// measure makes the rounds of one benchmark. Noisy ones are made again, but no more than
// twice as many as are wanted: on a machine that is never quiet the last ones count.
func (s *suite) measure(ctx context.Context, r *result) error {
	if !r.cold {
		if _, _, err := s.round(ctx, r.contenders); err != nil {
			return err
		}
	}
	want := s.rounds
	if !s.short {
		want = max(want, r.roundsMin)
	}
	if r.roundsMax > 0 {
		want = min(want, r.roundsMax)
	}
	patience := 2 * want
	for len(r.rounds) < want {
		order := slices.Clone(r.contenders)
		if len(r.rounds)%2 == 1 {
			slices.Reverse(order) // whoever comes after a heavy one comes before it next time
		}
		got, noise, err := s.round(ctx, order)
		if err != nil {
			return err
		}
		fmt.Fprintf(s.progress, "    round %d of %d, others took %.0f %%\n", len(r.rounds)+1, want, 100*noise)
		if noise > s.noiseMax && patience > 0 {
			patience--
			r.noisy++
			continue
		}
		r.loud = r.loud || noise > s.noiseMax
		r.rounds, r.noise = append(r.rounds, got), append(r.noise, noise)
	}
	return nil
}

// round gives each contender its turn, on a heap that has just been collected.
func (s *suite) round(ctx context.Context, contenders []contender) (round, float64, error) {
	got := make(round)
	listen := listenForNoise(s.peer)
	for _, c := range contenders {
		if err := ctx.Err(); err != nil {
			return nil, 0, err
		}
		runtime.GC()
		runtime.GC() // the second one frees what pools had kept over the first
		one, err := c.run(ctx)
		if err != nil {
			return nil, 0, fmt.Errorf("%s: %w", c.name, err)
		}
		got[c.name] = one
	}
	return got, listen.stop(), nil
}
