package timeoutpolicy_test

import (
	"context"
	"errors"
	"path"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	tp "curfew.example/timeoutpolicy"
)

const (
	s  = time.Second
	ms = time.Millisecond
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// ask is an ask of a caller without a deadline.
func ask(change ...func(*tp.Ask)) tp.Ask {
	a := tp.Ask{Kind: "fetch", Endpoint: "db:5432", Remaining: tp.Unlimited, Now: noon}
	for _, c := range change {
		c(&a)
	}
	return a
}

func within(d time.Duration) func(*tp.Ask) { return func(a *tp.Ask) { a.Within = d } }
func left(d time.Duration) func(*tp.Ask)   { return func(a *tp.Ask) { a.Remaining = d } }
func class(name string) func(*tp.Ask)      { return func(a *tp.Ask) { a.Class = name } }

// hour is a policy that is not one of the package's own.
type hour struct{}

func (hour) Grant(tp.Ask, tp.Budget) (tp.Budget, error) { return tp.Budget{Limit: time.Hour}, nil }

// given is a policy that grants what it holds.
type given tp.Budget

func (g given) Grant(tp.Ask, tp.Budget) (tp.Budget, error) { return tp.Budget(g), nil }

func answers(d time.Duration, err error) tp.Policy {
	return tp.Func(func(context.Context, tp.Ask) (time.Duration, error) { return d, err })
}

func TestResolveSettlesTheLimit(t *testing.T) {
	page := class("page")
	for name, c := range map[string]struct {
		policy tp.Policy
		ask    tp.Ask
		limit  time.Duration
		by     string
	}{
		"fixed":                                {tp.Fixed(10 * s), ask(), 10 * s, "fixed 10s"},
		"fixed unlimited":                      {tp.Fixed(tp.Unlimited), ask(), tp.Unlimited, "fixed unlimited"},
		"the last grant holds":                 {tp.Compose(tp.Fixed(10*s), tp.Fixed(3*time.Minute)), ask(), 3 * time.Minute, "fixed 3m"},
		"explicit replaces":                    {tp.Fixed(10 * s), ask(within(time.Hour)), time.Hour, "within"},
		"explicit alone":                       {nil, ask(within(5 * s)), 5 * s, "within"},
		"explicit unlimited":                   {nil, ask(within(tp.Unlimited)), tp.Unlimited, "within"},
		"deadline alone":                       {nil, ask(left(5 * s)), 5 * s, "context deadline"},
		"deadline caps a grant":                {tp.Fixed(10 * s), ask(left(5 * s)), 5 * s, "context deadline"},
		"deadline caps an explicit limit":      {tp.Fixed(10 * s), ask(left(5*s), within(6*s)), 5 * s, "context deadline"},
		"deadline caps unlimited":              {tp.Fixed(tp.Unlimited), ask(left(5 * s)), 5 * s, "context deadline"},
		"a grant below the deadline":           {tp.Fixed(10 * s), ask(left(50 * s)), 10 * s, "fixed 10s"},
		"remaining":                            {tp.Compose(tp.Fixed(s), tp.Remaining()), ask(left(16 * s)), 16 * s, "remaining"},
		"remaining without a deadline":         {tp.Compose(tp.Fixed(s), tp.Remaining()), ask(), s, "fixed 1s"},
		"remaining, explicit":                  {tp.Remaining(), ask(left(16*s), within(3*s)), 3 * s, "within"},
		"lease":                                {tp.Until(noon.Add(90 * s)), ask(), 90 * s, "lease until 2026-03-01T12:01:30Z"},
		"lease lowers":                         {tp.Compose(tp.Fixed(time.Hour), tp.Until(noon.Add(90*s))), ask(), 90 * s, "lease until 2026-03-01T12:01:30Z"},
		"lease leaves lower limits":            {tp.Compose(tp.Fixed(s), tp.Until(noon.Add(90*s))), ask(), s, "fixed 1s"},
		"lease lowers what comes later":        {tp.Compose(tp.Until(noon.Add(90*s)), tp.Fixed(time.Hour)), ask(), 90 * s, "lease until 2026-03-01T12:01:30Z"},
		"lease lowers explicit limits":         {tp.Until(noon.Add(90 * s)), ask(within(time.Hour)), 90 * s, "lease until 2026-03-01T12:01:30Z"},
		"lease of a thousand years":            {tp.Until(noon.AddDate(1000, 0, 0)), ask(), tp.Unlimited - 1, "lease until 3026-03-01T12:00:00Z"},
		"func":                                 {answers(7*s, nil), ask(), 7 * s, "func 7s"},
		"func with nothing to say":             {tp.Compose(tp.Fixed(s), answers(0, tp.ErrNoLimit)), ask(), s, "fixed 1s"},
		"func is not asked":                    {answers(0, errors.New("asked")), ask(within(s)), s, "within"},
		"reserve":                              {tp.Compose(tp.Fixed(5*s), tp.Reserve(s)), ask(), 4 * s, "reserve 1s"},
		"reserve of the rest":                  {tp.Compose(tp.Fixed(10*s), tp.Reserve(s)), ask(left(5 * s)), 4 * s, "reserve 1s"},
		"reserve of the rest alone":            {tp.Reserve(s), ask(left(5 * s)), 4 * s, "reserve 1s"},
		"reserve of unlimited":                 {tp.Compose(tp.Fixed(tp.Unlimited), tp.Reserve(s)), ask(), tp.Unlimited, "fixed unlimited"},
		"reserve, explicit":                    {tp.Compose(tp.Fixed(5*s), tp.Reserve(s)), ask(within(5 * s)), 5 * s, "within"},
		"reserve, floor not needed":            {tp.Compose(tp.Fixed(5*s), tp.Reserve(s).Floor(2*s)), ask(), 4 * s, "reserve 1s (floor 2s)"},
		"reserve, floor":                       {tp.Compose(tp.Fixed(5*s), tp.Reserve(6*s).Floor(2*s)), ask(), 2 * s, "reserve 6s (floor 2s)"},
		"reserve, floor above the rest":        {tp.Compose(tp.Fixed(5*s), tp.Reserve(6*s).Floor(time.Minute)), ask(), 5 * s, "reserve 6s (floor 1m)"},
		"cap":                                  {tp.Compose(tp.Fixed(10*s), tp.Cap(2*s)), ask(), 2 * s, "cap 2s"},
		"cap of another class":                 {tp.Compose(tp.Fixed(10*s), tp.Cap(2*s).Class("page")), ask(), 10 * s, "fixed 10s"},
		"cap of the class":                     {tp.Compose(tp.Fixed(10*s), tp.Cap(2*s).Class("page")), ask(page), 2 * s, "cap 2s (class page)"},
		"cap to the left":                      {tp.Compose(tp.Cap(2*s).Class("page"), tp.Fixed(10*s)), ask(page), 2 * s, "cap 2s (class page)"},
		"cap between grants":                   {tp.Compose(tp.Fixed(s), tp.Cap(2*s), tp.Fixed(10*s)), ask(), 2 * s, "cap 2s"},
		"cap above the grant":                  {tp.Compose(tp.Cap(20*s), tp.Fixed(10*s)), ask(), 10 * s, "fixed 10s"},
		"cap of an explicit limit":             {tp.Compose(tp.Fixed(s), tp.Cap(2*s).Kind("fetch")), ask(within(time.Hour)), 2 * s, "cap 2s (kind fetch)"},
		"cap above an explicit limit":          {tp.Cap(2 * s), ask(within(s)), s, "within"},
		"cap at an explicit limit":             {tp.Cap(s), ask(within(s)), s, "within"},
		"cap of a deadline":                    {tp.Cap(2 * s), ask(left(time.Hour)), 2 * s, "cap 2s"},
		"the lowest cap":                       {tp.Compose(tp.Fixed(10*s), tp.Cap(2*s), tp.Cap(s), tp.Cap(3*s)), ask(), s, "cap 1s"},
		"cap by endpoint":                      {tp.Compose(tp.Fixed(10*s), tp.Cap(2*s).Endpoint("db:5432")), ask(), 2 * s, "cap 2s (endpoint db:5432)"},
		"cap by pattern":                       {tp.Compose(tp.Fixed(10*s), tp.Cap(2*s).Endpoint("db:*")), ask(), 2 * s, "cap 2s (endpoint db:*)"},
		"cap by kind and class, one fits":      {tp.Compose(tp.Fixed(10*s), tp.Cap(2*s).Class("page").Kind("func")), ask(page), 10 * s, "fixed 10s"},
		"fallback":                             {tp.Fallback(tp.Fixed(s)), ask(), s, "fallback: fixed 1s"},
		"fallback not needed":                  {tp.Compose(tp.Fixed(2*s), tp.Fallback(tp.Fixed(s))), ask(), 2 * s, "fixed 2s"},
		"fallback, explicit":                   {tp.Fallback(tp.Fixed(s)), ask(within(3 * s)), 3 * s, "within"},
		"for a class":                          {tp.Compose(tp.Fixed(2*s), tp.For(tp.Match{Class: "page"}, tp.Fixed(s))), ask(page), s, "fixed 1s"},
		"for another class":                    {tp.Compose(tp.Fixed(2*s), tp.For(tp.Match{Class: "page"}, tp.Fixed(s))), ask(), 2 * s, "fixed 2s"},
		"least":                                {tp.Compose(tp.Fixed(2*s), tp.Least(s)), ask(), 2 * s, "fixed 2s"},
		"least, explicit holds for the policy": {tp.Compose(tp.Fixed(2*s), tp.Least(3*s)), ask(within(4 * s)), 4 * s, "within"},
		"nil rules":                            {tp.Compose(nil, tp.Fixed(s), nil), ask(), s, "fixed 1s"},
		"foreign policy":                       {hour{}, ask(), time.Hour, "policy"},
		"foreign policy, cap":                  {given{Limit: time.Hour, Cap: s, GrantedBy: "mine"}, ask(), s, "cap 1s"},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := tp.Resolve(c.policy, c.ask)
			require.NoError(t, err)
			assert.Equal(t, c.limit, b.Limit)
			assert.Equal(t, c.by, b.GrantedBy)
			assert.NoError(t, tp.Check(c.policy))
		})
	}
}

func TestResolveRefuses(t *testing.T) {
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		policy tp.Policy
		ask    tp.Ask
		want   error
	}{
		"nobody":                              {nil, ask(), tp.ErrNoLimit},
		"an empty composition":                {tp.Compose(), ask(), tp.ErrNoLimit},
		"a cap alone":                         {tp.Cap(s), ask(), tp.ErrNoLimit},
		"a reserve of nothing":                {tp.Reserve(s), ask(), tp.ErrNoLimit},
		"remaining of no deadline":            {tp.Remaining(), ask(), tp.ErrNoLimit},
		"an empty fallback":                   {tp.Fallback(nil), ask(), tp.ErrNoLimit},
		"a deadline that has passed":          {tp.Fixed(s), ask(left(-s)), tp.ErrTooLate},
		"a deadline now":                      {tp.Fixed(s), ask(left(0)), tp.ErrTooLate},
		"a passed deadline, explicit":         {nil, ask(left(0), within(s)), tp.ErrTooLate},
		"negative explicit":                   {tp.Fixed(s), ask(within(-1)), tp.ErrTooLate},
		"zero fixed":                          {tp.Fixed(0), ask(), tp.ErrTooLate},
		"zero fixed under a deadline":         {tp.Fixed(0), ask(left(s)), tp.ErrTooLate},
		"negative fixed":                      {tp.Fixed(-s), ask(), tp.ErrTooLate},
		"zero fixed is not mended by another": {tp.Compose(tp.Fixed(0), tp.Fixed(s)), ask(), tp.ErrTooLate},
		"zero func":                           {answers(0, nil), ask(), tp.ErrTooLate},
		"negative func":                       {answers(-s, nil), ask(), tp.ErrTooLate},
		"broken func":                         {tp.Compose(tp.Fixed(s), answers(0, broken), tp.Fixed(s)), ask(), broken},
		"no fallback for what is broken":      {tp.Compose(answers(0, broken), tp.Fallback(tp.Fixed(s))), ask(), broken},
		"a lease that is over":                {tp.Until(noon), ask(), tp.ErrTooLate},
		"a lease that is over, explicit":      {tp.Until(noon.Add(-1)), ask(within(s)), tp.ErrTooLate},
		"a clearance that eats all":           {tp.Compose(tp.Fixed(5*s), tp.Reserve(6*s)), ask(), tp.ErrTooLate},
		"a clearance of exactly all":          {tp.Compose(tp.Fixed(5*s), tp.Reserve(5*s)), ask(), tp.ErrTooLate},
		"a clearance that eats the rest":      {tp.Compose(tp.Fixed(5*s), tp.Reserve(2*s)), ask(left(s)), tp.ErrTooLate},
		"zero cap":                            {tp.Compose(tp.Fixed(s), tp.Cap(0)), ask(), tp.ErrTooLate},
		"zero cap, explicit":                  {tp.Cap(0), ask(within(s)), tp.ErrTooLate},
		"the zero cap rule":                   {tp.Compose(tp.Fixed(s), tp.CapRule{}), ask(), tp.ErrTooLate},
		"malformed pattern":                   {tp.Compose(tp.Fixed(s), tp.Cap(s).Endpoint("[")), ask(), path.ErrBadPattern},
		"malformed match":                     {tp.For(tp.Match{Endpoint: "["}, tp.Fixed(s)), ask(), path.ErrBadPattern},
		"less than the least":                 {tp.Compose(tp.Fixed(s), tp.Least(2*s)), ask(), tp.ErrTooLate},
		"least of the rest":                   {tp.Compose(tp.Fixed(5*s), tp.Least(2*s)), ask(left(s)), tp.ErrTooLate},
		"least, explicit":                     {tp.Compose(tp.Fixed(5*s), tp.Least(2*s)), ask(within(s)), tp.ErrTooLate},
		"foreign, negative limit":             {given{Limit: -s}, ask(), tp.ErrTooLate},
		"foreign, negative limit, deadline":   {given{Limit: -s}, ask(left(s)), tp.ErrTooLate},
		"foreign, negative cap":               {given{Limit: s, Cap: -s}, ask(), tp.ErrTooLate},
		"foreign, negative stall":             {given{Limit: s, Stall: -s}, ask(), tp.ErrTooLate},
		"foreign, negative warn":              {given{Limit: s, Warn: -s}, ask(), tp.ErrTooLate},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := tp.Resolve(c.policy, c.ask)
			require.ErrorIs(t, err, c.want)
			assert.Zero(t, b)
		})
	}
}

func TestForeignWaitsWithoutAnEndAreRefused(t *testing.T) {
	for _, endless := range []given{{Limit: s, Grace: tp.Unlimited}, {Limit: s, Force: tp.Unlimited}} {
		b, err := tp.Resolve(endless, ask())
		require.ErrorContains(t, err, "a clean-up has to have an end")
		assert.Zero(t, b)
	}
}

// The reduced-limit table of the module that Curfew comes from (row M21). Its default
// is 5.0; clearance and page cap are what the caller asks for.
func TestReducedLimitTable(t *testing.T) {
	none := tp.Compose()
	five := tp.Fixed(5 * s)
	for name, c := range map[string]struct {
		rule  tp.Policy
		class string
		limit time.Duration
		err   error
	}{
		"clearance 1":                    {tp.Compose(five, tp.Reserve(s)), "", 4 * s, nil},
		"clearance 1, cap 2, page":       {tp.Compose(five, tp.Reserve(s), tp.Cap(2*s).Class("page")), "page", 2 * s, nil},
		"clearance 1, cap 6, page":       {tp.Compose(five, tp.Reserve(s), tp.Cap(6*s).Class("page")), "page", 4 * s, nil},
		"clearance 1, cap 2, job":        {tp.Compose(five, tp.Reserve(s), tp.Cap(2*s).Class("page")), "job", 4 * s, nil},
		"cap 2, page":                    {tp.Compose(five, tp.Cap(2*s).Class("page")), "page", 2 * s, nil},
		"clearance 6":                    {tp.Compose(five, tp.Reserve(6*s)), "", 0, tp.ErrTooLate}, // the reference grants 5.0: a cliff
		"clearance 6, floor":             {tp.Compose(five, tp.Reserve(6*s).Floor(s)), "", s, nil},
		"no default":                     {tp.Compose(none, tp.Reserve(s)), "", 0, tp.ErrNoLimit},
		"no default, fallback":           {tp.Compose(none, tp.Reserve(s), tp.Fallback(five)), "", 5 * s, nil},
		"no default, fallback, page cap": {tp.Compose(none, tp.Reserve(s), tp.Cap(2*s).Class("page"), tp.Fallback(five)), "page", 2 * s, nil},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := tp.Resolve(c.rule, ask(class(c.class)))
			require.ErrorIs(t, err, c.err)
			assert.Equal(t, c.limit, b.Limit)
		})
	}
}

// The default function of the module that Curfew comes from (row S08): of 30 s in all
// 14 are used, so 16 are left; it is asked at each call.
func TestFuncIsAskedAtEachCall(t *testing.T) {
	used := time.Duration(0)
	p := tp.Func(func(context.Context, tp.Ask) (time.Duration, error) { return 30*s - used, nil })
	for _, used = range []time.Duration{0, 14 * s, 29 * s} {
		b, err := tp.Resolve(p, ask())
		require.NoError(t, err)
		assert.Equal(t, 30*s-used, b.Limit)
	}
	used = 30 * s
	_, err := tp.Resolve(p, ask())
	assert.ErrorIs(t, err, tp.ErrTooLate)
}

func TestContextReachesEveryFunc(t *testing.T) {
	type key struct{}
	ctx := context.WithValue(t.Context(), key{}, "mine")
	seen := 0
	look := tp.Func(func(ctx context.Context, _ tp.Ask) (time.Duration, error) {
		if ctx.Value(key{}) == "mine" {
			seen++
		}
		return 0, tp.ErrNoLimit
	})
	p := tp.Compose(look, tp.For(tp.Match{}, tp.Compose(look, look)), tp.Fallback(look), tp.Fallback(tp.Fixed(s)))
	_, err := tp.ResolveContext(ctx, p, ask())
	require.NoError(t, err)
	assert.Equal(t, 4, seen)
	_, err = p.Grant(ask(), tp.Budget{})
	require.NoError(t, err)
	assert.Equal(t, 4, seen, "Grant has no context to pass on")
}

func TestSettings(t *testing.T) {
	for name, c := range map[string]struct {
		rule tp.Policy
		want tp.Budget
	}{
		"defaults":        {tp.Compose(), tp.Budget{Grace: tp.DefaultGrace, Force: tp.DefaultForce}},
		"all":             {tp.Compose(tp.Stall(s), tp.Warn(2*s), tp.Grace(3*s), tp.Force(4*s)), tp.Budget{Stall: s, Warn: 2 * s, Grace: 3 * s, Force: 4 * s}},
		"none":            {tp.Compose(tp.Grace(tp.None), tp.Force(tp.None)), tp.Budget{Grace: tp.None, Force: tp.None}},
		"taken away":      {tp.Compose(tp.Stall(s), tp.Warn(s), tp.Stall(0), tp.Warn(tp.Unlimited)), tp.Budget{Grace: tp.DefaultGrace, Force: tp.DefaultForce}},
		"back to default": {tp.Compose(tp.Grace(s), tp.Grace(0)), tp.Budget{Grace: tp.DefaultGrace, Force: tp.DefaultForce}},
		"foreign waits":   {given{Grace: -7, Force: -8}, tp.Budget{Grace: tp.None, Force: tp.None}},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := tp.Resolve(c.rule, ask(within(9*s)))
			require.NoError(t, err)
			c.want.Limit, c.want.GrantedBy = 9*s, "within"
			assert.Equal(t, c.want, b)
		})
	}
}

func TestCheckFindsBadValues(t *testing.T) {
	for name, p := range map[string]tp.Policy{
		"fixed zero":         tp.Fixed(0),
		"fixed negative":     tp.Fixed(-s),
		"cap zero":           tp.Cap(0),
		"cap pattern":        tp.Cap(s).Endpoint("[a"),
		"negative clearance": tp.Reserve(-s),
		"negative floor":     tp.Reserve(s).Floor(-s),
		"negative stall":     tp.Stall(-1),
		"negative warn":      tp.Warn(-1),
		"negative grace":     tp.Grace(-2),
		"endless grace":      tp.Grace(tp.Unlimited),
		"endless force":      tp.Force(tp.Unlimited),
		"match pattern":      tp.For(tp.Match{Endpoint: "[a"}),
		"nil func":           tp.Func(nil),
		"deep":               tp.Compose(tp.Fixed(s), tp.For(tp.Match{}, tp.Fallback(tp.Compose(tp.Cap(-s))))),
	} {
		t.Run(name, func(t *testing.T) {
			assert.Error(t, tp.Check(p))
			_, err := tp.Resolve(tp.Compose(p, tp.Fallback(tp.Fixed(s))), ask())
			if name != "deep" {
				assert.Error(t, err, "a bad value is an error when it is asked, too")
			}
		})
	}
	assert.NoError(t, tp.Check(nil))
	assert.NoError(t, tp.Check(hour{}))
}

func TestBlocks(t *testing.T) {
	f := answers(s, nil)
	for name, c := range map[string]struct {
		policy tp.Policy
		want   bool
	}{
		"own rules":    {tp.Compose(tp.Fixed(s), tp.Remaining(), tp.Until(noon), tp.Reserve(s).Floor(s), tp.Cap(s), tp.Least(s), tp.Stall(s), tp.Fallback(tp.Fixed(s)), tp.For(tp.Match{}, tp.Fixed(s))), false},
		"func":         {f, true},
		"composed":     {tp.Compose(tp.Fixed(s), f), true},
		"fallback":     {tp.Fallback(f), true},
		"for":          {tp.For(tp.Match{}, f), true},
		"foreign":      {hour{}, true},
		"no fallback":  {tp.Fallback(nil), false},
		"nested":       {tp.Compose(tp.Compose(tp.For(tp.Match{}, tp.Fallback(f)))), true},
		"foreign deep": {tp.Compose(tp.Compose(hour{})), true},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, c.want, tp.Blocks(c.policy)) })
	}
}

func TestOverrideIsSeenByItsContextOnly(t *testing.T) {
	outer := tp.Override(t.Context(), tp.Fixed(s))
	inner := tp.Override(outer, tp.Fixed(2*s))
	assert.Nil(t, tp.Overridden(t.Context()))
	assert.Equal(t, tp.Fixed(s), tp.Overridden(outer))
	assert.Equal(t, tp.Fixed(2*s), tp.Overridden(inner))
	assert.Nil(t, tp.Overridden(tp.Override(inner, nil)))
}

func TestRulesNameThemselves(t *testing.T) {
	p := tp.Compose(tp.Fixed(90*time.Minute), tp.Cap(2*s).Class("page").Kind("fetch").Endpoint("db:*"), tp.Grace(tp.None), tp.For(tp.Match{Kind: "func"}, tp.Stall(500*ms)), hour{})
	assert.Equal(t, "fixed 1h30m, cap 2s (class page, kind fetch, endpoint db:*), grace none, for kind func: stall 500ms, policy", p.(interface{ String() string }).String())
}

// A resolved request is on the way of every call.
func TestOwnRulesDoNotAllocate(t *testing.T) {
	p := tp.Compose(tp.Fixed(10*s), tp.Reserve(s), tp.Cap(2*s).Class("page"), tp.Stall(s))
	a := ask(class("page"), left(7*s))
	assert.Zero(t, testing.AllocsPerRun(100, func() { _, _ = tp.Resolve(p, a) }))
}
