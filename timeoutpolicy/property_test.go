package timeoutpolicy_test

import (
	"context"
	"testing"
	"time"

	"pgregory.net/rapid"

	tp "curfew.example/timeoutpolicy"
)

// lengths draws times around the places where rules change their minds.
func lengths() *rapid.Generator[time.Duration] {
	return rapid.OneOf(
		rapid.SampledFrom([]time.Duration{-s, -1, 0, 1, s, 2 * s, tp.Unlimited - 1, tp.Unlimited}),
		rapid.Custom(func(t *rapid.T) time.Duration {
			return time.Duration(rapid.Int64Range(1, int64(10*s)).Draw(t, "ns"))
		}),
	)
}

// rules draws one rule, and tells of the caps among them.
func rule(depth int) *rapid.Generator[tp.Policy] {
	return rapid.Custom(func(t *rapid.T) tp.Policy {
		d := lengths().Draw(t, "d")
		kinds := 9
		if depth > 0 {
			kinds = 12
		}
		switch rapid.IntRange(0, kinds).Draw(t, "rule") {
		case 0, 1:
			return tp.Fixed(d)
		case 2:
			return tp.Remaining()
		case 3:
			return tp.Until(noon.Add(d))
		case 4:
			return tp.Func(func(context.Context, tp.Ask) (time.Duration, error) { return d, nil })
		case 5:
			return tp.Reserve(d)
		case 6:
			return tp.Reserve(d).Floor(lengths().Draw(t, "floor"))
		case 7:
			return tp.Cap(d)
		case 8:
			return tp.Cap(d).Class(rapid.SampledFrom([]string{"page", "job"}).Draw(t, "class"))
		case 9:
			return tp.Least(d)
		case 10:
			return tp.Fallback(rule(depth-1).Draw(t, "fallback"))
		case 11:
			return tp.For(tp.Match{Class: "page"}, rule(depth-1).Draw(t, "for"))
		}
		return tp.Compose(rapid.SliceOfN(rule(depth-1), 0, 4).Draw(t, "rules")...)
	})
}

func asks() *rapid.Generator[tp.Ask] {
	return rapid.Custom(func(t *rapid.T) tp.Ask {
		return tp.Ask{
			Class:     rapid.SampledFrom([]string{"", "page", "job"}).Draw(t, "class"),
			Remaining: rapid.OneOf(rapid.Just(tp.Unlimited), lengths()).Draw(t, "remaining"),
			Within:    rapid.OneOf(rapid.Just(time.Duration(0)), lengths()).Draw(t, "within"),
			Now:       noon,
		}
	})
}

func TestNoBudgetBreaksTheRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := tp.Compose(rapid.SliceOfN(rule(2), 0, 6).Draw(t, "policy")...)
		a := asks().Draw(t, "ask")
		b, err := tp.Resolve(p, a)
		if err != nil {
			if b != (tp.Budget{}) {
				t.Fatalf("an error with a budget: %+v", b)
			}
			return
		}
		switch {
		case a.Within < 0 || a.Remaining <= 0:
			t.Fatalf("granted too late: %+v", b)
		case b.Limit <= 0:
			t.Fatalf("nothing granted as a limit: %+v", b)
		case b.Limit > a.Remaining:
			t.Fatalf("more than the caller has left: %+v", b)
		case b.Cap > 0 && b.Limit > b.Cap:
			t.Fatalf("more than the cap: %+v", b)
		case a.Within != 0 && b.Limit > a.Within:
			t.Fatalf("more than the caller asked for: %+v", b)
		case b.GrantedBy == "":
			t.Fatalf("nobody granted it: %+v", b)
		case b.Grace == 0 || b.Force == 0:
			t.Fatalf("a default is missing: %+v", b)
		}
	})
}

func TestACapHoldsWhereverItStands(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		highest := time.Duration(rapid.Int64Range(1, int64(5*s)).Draw(t, "cap"))
		before := rapid.SliceOfN(rule(1), 0, 4).Draw(t, "before")
		after := rapid.SliceOfN(rule(1), 0, 4).Draw(t, "after")
		all := append(append(before, tp.Cap(highest)), after...)
		b, err := tp.Resolve(tp.Compose(all...), asks().Draw(t, "ask"))
		if err == nil && b.Limit > highest {
			t.Fatalf("%v is above the cap %v", b.Limit, highest)
		}
	})
}

func TestComposingIsAssociative(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x, y, z := rule(1).Draw(t, "x"), rule(1).Draw(t, "y"), rule(1).Draw(t, "z")
		a := asks().Draw(t, "ask")
		flat, err1 := tp.Resolve(tp.Compose(x, y, z), a)
		left, err2 := tp.Resolve(tp.Compose(tp.Compose(x, y), z), a)
		right, err3 := tp.Resolve(tp.Compose(x, tp.Compose(y, z)), a)
		if flat != left || flat != right || (err1 == nil) != (err2 == nil) || (err1 == nil) != (err3 == nil) {
			t.Fatalf("%+v %v\n%+v %v\n%+v %v", flat, err1, left, err2, right, err3)
		}
	})
}
