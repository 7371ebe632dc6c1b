package main

import "fmt"

// goal is what a benchmark is to reach, and the floor below which it is broken.
type goal struct {
	what        string
	unit        unit
	of          func(round) (float64, bool) // of one round; false: it was not measured
	goal, floor float64                     // at most this; floor 0: the goal is the floor too
	atLeast     bool                        // at least this
	gate        gate
}

// gate says what CI makes of a goal that is missed. Absolute times are never its business.
type gate int

const (
	open     gate = iota // nothing
	counted              // it fails beyond the floor: allocations, which do not depend on the machine
	relative             // it fails beyond the floor with slack: ratios of one run
)

// gateSlack is how far beyond its floor a ratio may be on a machine that others share.
const gateSlack = 1.5

// value is a goal for one contender's figure.
func value(name, figure string, u unit) goal {
	return goal{
		what: fmt.Sprintf("%s: %s", name, figure), unit: u,
		of: func(r round) (float64, bool) { return r[name].get(figure) },
	}
}

// ratio is a goal for a figure of one contender beside a rival's, of the same round.
func ratio(figure, name, rival string) goal {
	return goal{
		what: fmt.Sprintf("%s: %s ÷ %s", figure, name, rival), unit: times,
		of: func(r round) (float64, bool) {
			a, ok := r[name].get(figure)
			b, also := r[rival].get(figure)
			return a / b, ok && also && b != 0
		},
	}
}

// over is a goal for how much more one contender takes than a rival, in the same round.
func over(figure, name, rival string, u unit) goal {
	return goal{
		what: fmt.Sprintf("%s: %s − %s", figure, name, rival), unit: u,
		of: func(r round) (float64, bool) {
			a, ok := r[name].get(figure)
			b, also := r[rival].get(figure)
			return a - b, ok && also
		},
	}
}

func (g goal) atMost(want, floor float64) goal {
	g.goal, g.floor = want, floor
	return g
}

func (g goal) noLess(want, floor float64) goal {
	g.goal, g.floor, g.atLeast = want, floor, true
	return g
}

func (g goal) gated(how gate) goal {
	g.gate = how
	return g
}

// over the rounds: false when no round has it.
func (g goal) measured(rounds []round) (spread, bool) {
	var all []float64
	for _, r := range rounds {
		if v, ok := g.of(r); ok {
			all = append(all, v)
		}
	}
	if len(all) == 0 {
		return spread{}, false
	}
	return spreadOf(all), true
}

// limit is the floor, or the goal where that is the floor.
func (g goal) limit() float64 {
	if g.floor == 0 {
		return g.goal
	}
	return g.floor
}

func (g goal) keeps(v, bound float64) bool {
	if g.atLeast {
		return v >= bound
	}
	return v <= bound
}

// verdict is a word on a median.
func (g goal) verdict(v float64) string {
	switch {
	case g.keeps(v, g.goal):
		return "met"
	case g.keeps(v, g.limit()):
		return "floor met"
	}
	return "**missed**"
}

// shut reports whether CI is to fail for a median.
func (g goal) shut(v float64) bool {
	bound := g.limit()
	switch g.gate {
	case open:
		return false
	case counted:
		return !g.keeps(v, bound+0.5) // background goroutines allocate now and then
	case relative:
	}
	if g.atLeast {
		return !g.keeps(v, bound/gateSlack)
	}
	return !g.keeps(v, bound*gateSlack)
}

// shutGates lists what CI is to fail for: gates that are shut, and benchmarks that broke.
func shutGates(results []*result) (shut []string) {
	for _, r := range results {
		if r.failed != nil {
			shut = append(shut, fmt.Sprintf("%s: %v", r.id, r.failed))
		}
		for _, g := range r.goals {
			if m, ok := g.measured(r.rounds); ok && g.shut(m.median) {
				shut = append(shut, fmt.Sprintf("%s %s is %s, the floor %s", r.id, g.what, m.text(g.unit), g.unit.text(g.limit())))
			}
		}
	}
	return shut
}
