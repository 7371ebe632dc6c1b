package main

import (
	"fmt"
	"slices"
	"strings"
)

// report writes the results in Markdown.
func report(about []string, s *suite, results []*result) string {
	var b strings.Builder
	b.WriteString("# Curfew beside its rivals\n\n")
	for _, line := range about {
		fmt.Fprintf(&b, "- %s\n", line)
	}
	fmt.Fprintf(&b, "- median (least … most) of %d rounds, or as many as stand below a table, all contenders in turn in each; a round is made again when others take more than %.0f %% of the machine\n",
		s.rounds, 100*s.noiseMax)
	if s.short {
		b.WriteString("- the short form: good for ratios and allocations, not for figures\n")
	}
	for _, r := range results {
		r.write(&b)
	}
	return b.String()
}

func (r *result) write(b *strings.Builder) {
	fmt.Fprintf(b, "\n## %s %s\n\n", r.id, r.work)
	if r.failed != nil {
		fmt.Fprintf(b, "**Not measured:** %v\n", r.failed)
	}
	if len(r.rounds) > 0 {
		r.writeFigures(b)
		r.writeGoals(b)
		fmt.Fprintf(b, "\n%s\n", r.noiseText())
	}
	for _, n := range r.notes {
		fmt.Fprintf(b, "\n%s\n", n)
	}
}

// writeFigures is the table of contenders and what each took.
func (r *result) writeFigures(b *strings.Builder) {
	figures := r.figures()
	fmt.Fprintf(b, "| | %s |\n|---|%s\n", strings.Join(figures, " | "), strings.Repeat("---|", len(figures)))
	for _, c := range r.contenders {
		fmt.Fprintf(b, "| %s |", c.name)
		for _, f := range figures {
			fmt.Fprintf(b, " %s |", r.cell(c.name, f))
		}
		b.WriteByte('\n')
	}
}

// figures lists what was measured, in the order of the contenders that have most of it.
func (r *result) figures() (all []string) {
	for _, c := range r.contenders {
		for _, one := range r.rounds[0][c.name] {
			if !slices.Contains(all, one.what) {
				all = append(all, one.what)
			}
		}
	}
	return all
}

func (r *result) cell(name, figure string) string {
	var values []float64
	var u unit
	for _, one := range r.rounds {
		for _, got := range one[name] {
			if got.what == figure {
				values, u = append(values, got.value), got.unit
			}
		}
	}
	if len(values) == 0 {
		return "–"
	}
	return spreadOf(values).text(u)
}

// writeGoals is the table of what was to be reached.
func (r *result) writeGoals(b *strings.Builder) {
	if len(r.goals) == 0 {
		return
	}
	b.WriteString("\n| goal | measured | wanted | floor | |\n|---|---|---|---|---|\n")
	for _, g := range r.goals {
		sign := "≤ "
		if g.atLeast {
			sign = "≥ "
		}
		m, ok := g.measured(r.rounds)
		got, verdict := "–", "not measured"
		if ok {
			got, verdict = m.text(g.unit), g.verdict(m.median)
		}
		fmt.Fprintf(b, "| %s | %s | %s%s | %s%s | %s |\n", g.what, got, sign, g.unit.text(g.goal), sign, g.unit.text(g.limit()), verdict)
	}
}

func (r *result) noiseText() string {
	n := spreadOf(r.noise)
	s := fmt.Sprintf("Rounds: %d. Others took %.1f %% of the machine (%.1f … %.1f).", len(r.rounds), 100*n.median, 100*n.least, 100*n.most)
	if r.noisy > 0 {
		s += fmt.Sprintf(" Noisy rounds thrown away: %d.", r.noisy)
	}
	if r.loud {
		s += " **There were not enough quiet rounds: noisy ones are among these.**"
	}
	return s
}
