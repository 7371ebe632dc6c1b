package actors_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"pgregory.net/rapid"

	"curfew.example/actors"
	"curfew.example/timeoutpolicy"
)

var rosterStart = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// crash and the rest are how children end in these tests.
func crash() actors.Exit   { return actors.Exit{Reason: actors.ReasonError, Err: errors.New("broken")} }
func normal() actors.Exit  { return actors.Exit{Reason: actors.ReasonNormal} }
func stopped() actors.Exit { return actors.Exit{Reason: actors.ReasonShutdown} }
func expired() actors.Exit { return actors.Exit{Reason: actors.ReasonExpired} }

// abc is a tree of three.
func abc(s actors.Strategy, types ...actors.Restart) actors.Tree {
	t := actors.Tree{Strategy: s, Backoff: actors.Backoff{First: timeoutpolicy.None}}
	for i, name := range []string{"a", "b", "c"} {
		c := actors.Child{Name: name}
		if i < len(types) {
			c.Restart = types[i]
		}
		t.Children = append(t.Children, c)
	}
	return t
}

func TestStrategiesStopInReverseAndStartInOrder(t *testing.T) {
	for strategy, want := range map[actors.Strategy][]string{
		actors.OneForOne:  {"start b"},
		actors.OneForAll:  {"stop c", "stop a", "start a", "start b", "start c"},
		actors.RestForOne: {"stop c", "start b", "start c"},
	} {
		t.Run(strategy.String(), func(t *testing.T) {
			r, steps := actors.NewRoster(abc(strategy), time.Time{}, rosterStart)
			assert.Equal(t, []string{"start a", "start b", "start c"}, steps)
			steps = r.Exited("b", crash(), false, rosterStart)
			for i := 0; i < len(steps); i++ {
				if name, ok := strings.CutPrefix(steps[i], "stop "); ok {
					assert.Equal(t, "stopping", r.State(name), "one at a time")
					steps = append(steps, r.Exited(name, stopped(), false, rosterStart)...)
				}
			}
			assert.Equal(t, want, steps)
		})
	}
}

func TestRestartTypes(t *testing.T) {
	for _, c := range []struct {
		restart actors.Restart
		exit    actors.Exit
		want    []string
		state   string
	}{
		{actors.Permanent, normal(), []string{"start b"}, "running"},
		{actors.Permanent, crash(), []string{"start b"}, "running"},
		{actors.Permanent, actors.Exit{Reason: actors.ReasonNormal, Err: actors.ErrDoNotRestart}, nil, "stopped"},
		{actors.Transient, normal(), nil, "stopped"},
		{actors.Transient, stopped(), nil, "stopped"},
		{actors.Transient, crash(), []string{"start b"}, "running"},
		{actors.Transient, actors.Exit{Reason: actors.ReasonGaveUp}, []string{"start b"}, "running"},
		{actors.Transient, expired(), []string{"wake"}, "waiting"},
		{actors.Temporary, crash(), []string{"drop b"}, ""},
		{actors.Temporary, expired(), []string{"drop b"}, ""},
	} {
		t.Run(fmt.Sprint(c.restart, c.exit.Reason), func(t *testing.T) {
			r, _ := actors.NewRoster(abc(actors.OneForOne, actors.Permanent, c.restart), time.Time{}, rosterStart)
			assert.Equal(t, c.want, r.Exited("b", c.exit, false, rosterStart))
			assert.Equal(t, c.state, r.State("b"))
		})
	}
}

func TestIntensityCountsWithinThePeriodAndExpiriesNotAtAll(t *testing.T) {
	tree := abc(actors.OneForOne)
	tree.Intensity, tree.Period = 2, 10*time.Second
	r, _ := actors.NewRoster(tree, time.Time{}, rosterStart)
	at := func(s int) time.Time { return rosterStart.Add(time.Duration(s) * time.Second) }
	for s := range 50 {
		r.Exited("a", expired(), false, at(s))
		r.Wake(at(s + 1))
	}
	r.Exited("b", crash(), false, at(50))
	r.Exited("b", crash(), false, at(60))
	assert.Equal(t, []string{"start c"}, r.Exited("c", crash(), false, at(61)), "the first is more than a period ago")
	assert.Equal(t, []string{"stop c"}, r.Exited("b", crash(), false, at(70)), "the second is exactly a period ago: it counts")
	exit, ended := r.Ended()
	assert.True(t, ended)
	assert.Equal(t, actors.ReasonGaveUp, exit.Reason)
	var gaveUp *actors.GaveUpError
	assert.ErrorAs(t, exit.Err, &gaveUp)
	assert.Equal(t, "b", gaveUp.Child)
}

func TestNoRestartsIsNone(t *testing.T) {
	tree := abc(actors.OneForOne)
	tree.Intensity = actors.NoRestarts
	r, _ := actors.NewRoster(tree, time.Time{}, rosterStart)
	r.Exited("a", crash(), false, rosterStart)
	_, ended := r.Ended()
	assert.True(t, ended)
}

func TestSignificantChildrenEndTheirSupervisor(t *testing.T) {
	for auto, want := range map[actors.AutoShutdown][2]bool{
		actors.Never: {false, false}, actors.AnySignificant: {true, true}, actors.AllSignificant: {false, true},
	} {
		tree := abc(actors.OneForOne, actors.Transient, actors.Temporary)
		tree.AutoShutdown = auto
		tree.Children[0].Significant, tree.Children[1].Significant = true, true
		r, _ := actors.NewRoster(tree, time.Time{}, rosterStart)
		r.Exited("b", crash(), false, rosterStart)
		exit, ended := r.Ended()
		assert.Equal(t, want[0], ended, auto)
		if !ended {
			r.Exited("a", normal(), false, rosterStart)
			exit, ended = r.Ended()
			assert.Equal(t, want[1], ended, auto)
		}
		if ended {
			assert.Equal(t, actors.ReasonNormal, exit.Reason)
		}
	}
}

func TestBackoffGrowsToItsCapAndJitterOnlyShortens(t *testing.T) {
	b := actors.Backoff{First: time.Second, Most: 10 * time.Second, Jitter: 0.5}
	for nth, want := range []time.Duration{0, 1, 2, 4, 8, 10, 10} {
		if nth > 0 {
			assert.Equal(t, want*time.Second, actors.Delay(b, nth, false, 0))
			assert.Equal(t, want*time.Second/2, actors.Delay(b, nth, false, 1))
		}
	}
	assert.Equal(t, 10*time.Second, actors.Delay(b, math.MaxInt, false, 0))
	none := actors.Backoff{First: timeoutpolicy.None}
	assert.Zero(t, actors.Delay(none, 3, false, 0))
	assert.Equal(t, actors.DefaultBackoffFirst, actors.Delay(none, 1, true, 0), "an expiry never spins")
	assert.Equal(t, actors.DefaultBackoffFirst, actors.Delay(actors.Backoff{}, 1, false, 0))
	assert.Equal(t, actors.DefaultBackoffMost, actors.Delay(actors.Backoff{}, 99, false, 0))
}

func TestAStuckChildIsNotStartedBeforeItHasGone(t *testing.T) {
	r, _ := actors.NewRoster(abc(actors.OneForAll), time.Time{}, rosterStart)
	assert.Equal(t, []string{"stop c"}, r.Exited("b", crash(), false, rosterStart))
	assert.Equal(t, []string{"stop a"}, r.Exited("c", stopped(), true, rosterStart))
	assert.Equal(t, []string{"start a", "start b"}, r.Exited("a", stopped(), false, rosterStart), "the others go on")
	assert.Equal(t, "stuck", r.State("c"))
	assert.Equal(t, []string{"start c"}, r.Gone("c", rosterStart))
}

func TestAHundredThousandChildrenAreAddedWithoutLookingAtEachOther(t *testing.T) {
	for _, strategy := range []actors.Strategy{actors.OneForOne, actors.OneForAll, actors.RestForOne} {
		r, _ := actors.NewRoster(actors.Tree{Strategy: strategy}, time.Time{}, rosterStart)
		start := time.Now()
		for i := range 100_000 {
			r.Add(actors.Child{Name: strconv.Itoa(i)}, rosterStart)
		}
		assert.Less(t, time.Since(start), 5*time.Second, "%s: a tenth of a second, unless each looks at all", strategy)
	}
}

// TestRosterKeepsItsWord drives rosters at random, with events in any order and at any time,
// and checks what no order of events may break.
func TestRosterKeepsItsWord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tree := actors.Tree{
			Strategy:  rapid.SampledFrom([]actors.Strategy{actors.OneForOne, actors.OneForAll, actors.RestForOne}).Draw(t, "strategy"),
			Intensity: rapid.IntRange(1, 4).Draw(t, "intensity"), Period: 10 * time.Second,
			Backoff: actors.Backoff{First: time.Second, Most: 4 * time.Second},
		}
		w := &rosterWorld{t: t, tree: tree, up: map[string]bool{}, asked: map[string]bool{}, now: rosterStart}
		w.r, _ = actors.NewRoster(tree, time.Time{}, rosterStart)
		t.Repeat(map[string]func(*rapid.T){
			"add":   w.add,
			"crash": func(t *rapid.T) { w.exit(crash(), false) },
			"end":   func(t *rapid.T) { w.exit(expired(), false) },
			"stuck": func(t *rapid.T) { w.exit(stopped(), true) },
			"gone":  w.gone,
			"ask":   w.ask,
			"wait":  w.wait,
			"close": w.close,
			"":      w.check,
		})
		w.rest()
	})
}

// rosterWorld is what a roster believes to be there.
type rosterWorld struct {
	t     *rapid.T
	tree  actors.Tree
	r     *actors.Roster
	now   time.Time
	born  int
	up    map[string]bool // runs, or is stuck
	stuck []string
	asked map[string]bool // of those: was asked to stop
	ended bool
	over  bool
}

func (w *rosterWorld) take(steps []string) {
	started := ""
	for _, s := range steps {
		what, name, _ := strings.Cut(s, " ")
		switch what {
		case "start":
			assert.False(w.t, w.up[name], "%s is started twice", name)
			assert.False(w.t, w.ended, "%s is started at the end", name)
			if started != "" {
				assert.Less(w.t, slices.Index(w.r.Names(), started), slices.Index(w.r.Names(), name), "out of order: %v", steps)
			}
			if w.tree.Strategy != actors.OneForOne {
				started = name
			}
			w.up[name], w.asked[name] = true, false
		case "stop":
			assert.True(w.t, w.up[name], "%s is stopped and does not run", name)
			w.asked[name] = true
		case "drop":
			assert.False(w.t, w.up[name], "%s is forgotten and runs", name)
		case "finish":
			assert.False(w.t, w.over, "it ends twice")
			w.over = true
		}
	}
	_, w.ended = w.r.Ended()
}

func (w *rosterWorld) add(t *rapid.T) {
	if w.ended {
		t.Skip("it has ended")
	}
	w.born++
	c := actors.Child{Name: fmt.Sprint("n", w.born), Restart: rapid.SampledFrom([]actors.Restart{actors.Permanent, actors.Transient, actors.Temporary}).Draw(t, "restart")}
	w.take(w.r.Add(c, w.now))
}

// running lists those that run and are not stuck.
func (w *rosterWorld) running() []string {
	var names []string
	for i := range w.born {
		if name := fmt.Sprint("n", i+1); w.up[name] && !slices.Contains(w.stuck, name) {
			names = append(names, name)
		}
	}
	return names
}

func (w *rosterWorld) exit(exit actors.Exit, stuck bool) {
	names := w.running()
	if len(names) == 0 {
		w.t.Skip("nobody runs")
	}
	name := rapid.SampledFrom(names).Draw(w.t, "name")
	if stuck {
		w.stuck = append(w.stuck, name)
	} else {
		w.up[name] = false
	}
	w.take(w.r.Exited(name, exit, stuck, w.now))
}

func (w *rosterWorld) gone(t *rapid.T) {
	if len(w.stuck) == 0 {
		t.Skip("nobody is stuck")
	}
	name := w.stuck[0]
	w.stuck = w.stuck[1:]
	w.up[name] = false
	w.take(w.r.Gone(name, w.now))
}

func (w *rosterWorld) ask(t *rapid.T) {
	names := w.r.Names()
	if len(names) == 0 || w.ended {
		t.Skip("nobody is there")
	}
	w.take(w.r.Ask(rapid.SampledFrom(names).Draw(t, "name"), rapid.SampledFrom([]string{"stop", "restart", "remove"}).Draw(t, "what"), w.now))
}

func (w *rosterWorld) wait(t *rapid.T) {
	w.now = w.now.Add(time.Duration(rapid.IntRange(0, 5000).Draw(t, "ms")) * time.Millisecond)
	w.take(w.r.Wake(w.now))
}

func (w *rosterWorld) close(t *rapid.T) {
	if rapid.IntRange(0, 9).Draw(t, "really") == 0 {
		w.take(w.r.End(w.now.Add(5*time.Second), w.now))
	}
}

// check holds at any time: who is asked in a queue is asked one at a time.
func (w *rosterWorld) check(t *rapid.T) {
	for _, name := range w.running() {
		state := w.r.State(name)
		assert.Contains(t, []string{"running", "stopping", ""}, state, name)
		assert.Equal(t, w.asked[name], state == "stopping", name)
	}
	assert.Equal(t, w.ended && len(w.running()) == 0, w.over, "it ends with the last of its children")
}

// rest lets everything come to its end: nobody waits for ever.
func (w *rosterWorld) rest() {
	for range 1000 {
		asked := slices.DeleteFunc(w.running(), func(name string) bool { return !w.asked[name] })
		if len(asked) == 0 {
			break
		}
		w.up[asked[0]] = false
		w.take(w.r.Exited(asked[0], stopped(), false, w.now))
	}
	for len(w.stuck) > 0 {
		w.gone(w.t)
	}
	w.now = w.now.Add(time.Minute)
	w.take(w.r.Wake(w.now))
	for _, name := range w.r.Names() {
		want := []string{"running", "stopped"}
		if w.ended {
			want = want[1:]
		}
		assert.Contains(w.t, want, w.r.State(name), name)
	}
	assert.Equal(w.t, w.ended, w.over)
}
