package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
)

// unit says how a figure is written.
type unit int

const (
	count unit = iota
	nanoseconds
	bytesOf
	perSecond
	times // a ratio
)

// spread is a figure over the rounds.
type spread struct{ median, least, most float64 }

// spreadOf sums up values; there is at least one.
func spreadOf(values []float64) spread {
	sorted := slices.Sorted(slices.Values(values))
	return spread{percentile(sorted, 50), sorted[0], sorted[len(sorted)-1]}
}

// percentile is the p-th percentile of sorted values, between its two neighbours where it
// falls between them. Of no values it is NaN.
func percentile(sorted []float64, p float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	at := p / 100 * float64(len(sorted)-1)
	low := int(at)
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (at-float64(low))*(sorted[high]-sorted[low])
}

// text writes a figure in its unit.
func (u unit) text(v float64) string {
	switch u {
	case nanoseconds:
		return lengthText(v)
	case bytesOf:
		return bytesText(v)
	case perSecond:
		return digits(v) + "/s"
	case times:
		return digits(v) + " x"
	}
	return digits(v)
}

// text writes the median with its spread.
func (s spread) text(u unit) string {
	if u.text(s.least) == u.text(s.most) {
		return u.text(s.median)
	}
	return fmt.Sprintf("%s (%s … %s)", u.text(s.median), u.text(s.least), u.text(s.most))
}

func lengthText(ns float64) string {
	switch d := math.Abs(ns); {
	case d >= float64(time.Second):
		return digits(ns/1e9) + " s"
	case d >= float64(time.Millisecond):
		return digits(ns/1e6) + " ms"
	case d >= float64(time.Microsecond):
		return digits(ns/1e3) + " µs"
	}
	return digits(ns) + " ns"
}

func bytesText(n float64) string {
	switch d := math.Abs(n); {
	case d >= 1e6:
		return digits(n/1e6) + " MB"
	case d >= 1e4:
		return digits(n/1e3) + " kB"
	}
	return digits(n) + " B"
}

// digits writes three figures that count, and no more after the point than that.
func digits(v float64) string {
	switch d := math.Abs(v); {
	case d >= 99.95 || d == math.Trunc(d):
		return strconv.FormatFloat(v, 'f', 0, 64)
	case d >= 9.995:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

// lengths sorts durations as figures, for percentile.
func lengths(all []time.Duration) []float64 {
	sorted := make([]float64, len(all))
	for i, d := range all {
		sorted[i] = float64(d)
	}
	slices.Sort(sorted)
	return sorted
}
