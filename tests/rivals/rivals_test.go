package main

import (
	"context"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// TestMain lets the test binary be the peer, too.
func TestMain(m *testing.M) {
	if isPeer() {
		servePeer()
		return
	}
	os.Exit(m.Run())
}

// rounds makes rounds in which Curfew takes so many times what its rival does.
func rounds(factors ...float64) (all []round) {
	for _, f := range factors {
		all = append(all, round{
			curfew: readings{{cpu, 1000 * f, nanoseconds}, {allocs, 16, count}},
			idiom:  readings{{cpu, 1000, nanoseconds}},
		})
	}
	return all
}

func TestAGoalIsJudgedByTheMedianOfTheRounds(t *testing.T) {
	g := ratio(cpu, curfew, idiom).atMost(2, 3.5).gated(relative)
	for _, c := range []struct {
		factors []float64
		verdict string
		shut    bool
	}{
		{[]float64{9, 2, 1}, "met", false},
		{[]float64{1, 3, 9}, "floor met", false},
		{[]float64{4, 4, 4}, "**missed**", false}, // within the slack for a machine that is shared
		{[]float64{6, 6, 1}, "**missed**", true},
	} {
		m, ok := g.measured(rounds(c.factors...))
		if got := g.verdict(m.median); !ok || got != c.verdict {
			t.Errorf("%v: %s, want %s", c.factors, got, c.verdict)
		}
		if got := g.shut(m.median); got != c.shut {
			t.Errorf("%v: the gate is shut: %v, want %v", c.factors, got, c.shut)
		}
	}
}

func TestAllocationsHaveNoSlack(t *testing.T) {
	g := value(curfew, allocs, count).atMost(16, 16).gated(counted)
	if g.shut(16.4) || !g.shut(17) {
		t.Error("sixteen and what the background takes are allowed, seventeen are not")
	}
}

func TestWhatWasNotMeasuredIsNeitherMetNorMissed(t *testing.T) {
	if _, ok := ratio(cpu, curfew, naiveActor).measured(rounds(1)); ok {
		t.Error("there was no such contender")
	}
}

func TestTimesAreNeverGated(t *testing.T) {
	s := &suite{short: true, rounds: 1, noiseMax: 1, progress: io.Discard, curfew: os.Args[0]}
	if err := s.prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer s.close()
	for _, b := range benchmarks() {
		one, err := b.setup(s)
		if err != nil {
			t.Errorf("%s: %v", b.id, err)
			continue
		}
		for _, g := range one.goals {
			if g.gate != open && (g.unit == nanoseconds || g.unit == perSecond) {
				t.Errorf("%s: %s is an absolute time", b.id, g.what)
			}
		}
		if one.close != nil {
			one.close()
		}
	}
}

func TestTheTableHoldsFiguresGoalsAndNoise(t *testing.T) {
	r := &result{
		benchmark: benchmark{id: "P0", work: "nothing"},
		trial: &trial{
			contenders: []contender{{name: curfew}, {name: idiom}},
			goals:      []goal{ratio(cpu, curfew, idiom).atMost(2, 3.5)},
		},
		rounds: rounds(1, 2, 3), noise: []float64{0, 0.01, 0.02}, noisy: 4,
	}
	text := report([]string{"a machine"}, &suite{rounds: 3, noiseMax: 0.1}, []*result{r})
	for _, want := range []string{
		"- a machine\n", "## P0 nothing\n",
		"| Curfew | 2 µs (1 µs … 3 µs) | 16 |\n",
		"| context + goroutine + select | 1 µs | – |\n",
		"| CPU: Curfew ÷ context + goroutine + select | 2 x (1 x … 3 x) | ≤ 2 x | ≤ 3.50 x | met |\n",
		"Others took 1.0 % of the machine (0.0 … 2.0). Noisy rounds thrown away: 4.",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
}

func TestANoisyRoundIsMadeAgain(t *testing.T) {
	turns := 0
	s := &suite{rounds: 2, noiseMax: -1, progress: io.Discard} // less than nothing: every round is noisy
	r := &result{trial: &trial{cold: true, contenders: []contender{{"one", func(context.Context) (readings, error) {
		turns++
		return readings{{wall, 1, nanoseconds}}, nil
	}}}}}
	if err := s.measure(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if turns != 6 || r.noisy != 4 || !r.loud || len(r.rounds) != 2 {
		t.Errorf("%d turns, %d thrown away, loud %v, %d count", turns, r.noisy, r.loud, len(r.rounds))
	}
}

func TestFiguresAreWrittenWithWhatCounts(t *testing.T) {
	for _, c := range []struct {
		u    unit
		v    float64
		want string
	}{
		{nanoseconds, 1234, "1.23 µs"}, {nanoseconds, float64(50 * time.Millisecond), "50 ms"}, {bytesOf, 3900, "3900 B"},
		{bytesOf, 2.5e6, "2.50 MB"}, {times, 0.934, "0.93 x"}, {count, 16, "16"}, {perSecond, 12345.6, "12346/s"},
	} {
		if got := c.u.text(c.v); got != c.want {
			t.Errorf("%v: %s, want %s", c.v, got, c.want)
		}
	}
}
