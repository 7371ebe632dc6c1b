package timeoutpolicy_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"curfew.example/timeoutpolicy"
)

func Example() {
	policy := timeoutpolicy.Compose(
		timeoutpolicy.Fixed(30*time.Second),
		timeoutpolicy.Reserve(time.Second),
		timeoutpolicy.Cap(2*time.Second).Class("page"),
	)
	for _, ask := range []timeoutpolicy.Ask{
		{Class: "job", Remaining: timeoutpolicy.Unlimited},
		{Class: "job", Remaining: 5 * time.Second},
		{Class: "page", Remaining: 5 * time.Second},
		{Class: "job", Remaining: timeoutpolicy.Unlimited, Within: time.Minute},
		{Class: "job", Remaining: time.Second},
	} {
		budget, err := timeoutpolicy.Resolve(policy, ask)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(budget.Limit, "by", budget.GrantedBy)
	}
	// Output:
	// 29s by reserve 1s
	// 4s by reserve 1s
	// 2s by cap 2s (class page)
	// 1m0s by within
	// reserve 1s: only 1s is there: too late: no time is left
}

func ExampleFunc() {
	requestBegan := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	rest := timeoutpolicy.Func(func(_ context.Context, ask timeoutpolicy.Ask) (time.Duration, error) {
		return 30*time.Second - ask.Now.Sub(requestBegan), nil
	})
	ask := timeoutpolicy.Ask{Remaining: timeoutpolicy.Unlimited, Now: requestBegan.Add(14 * time.Second)}
	budget, err := timeoutpolicy.Resolve(rest, ask)
	fmt.Println(budget.Limit, err)

	ask.Now = requestBegan.Add(31 * time.Second)
	_, err = timeoutpolicy.Resolve(rest, ask)
	fmt.Println(err, errors.Is(err, timeoutpolicy.ErrTooLate))
	// Output:
	// 16s <nil>
	// func -1s: a limit has to be more than nothing: too late: no time is left true
}

func ExampleReserve() {
	ask := timeoutpolicy.Ask{Remaining: 3 * time.Second}
	budget, _ := timeoutpolicy.Resolve(timeoutpolicy.Reserve(time.Second), ask)
	fmt.Println(budget.Limit)

	_, err := timeoutpolicy.Resolve(timeoutpolicy.Reserve(4*time.Second), ask)
	fmt.Println(err)

	budget, _ = timeoutpolicy.Resolve(timeoutpolicy.Reserve(4*time.Second).Floor(500*time.Millisecond), ask)
	fmt.Println(budget.Limit)
	// Output:
	// 2s
	// reserve 4s: only 3s is there: too late: no time is left
	// 500ms
}

func ExampleFallback() {
	policy := timeoutpolicy.Compose(
		timeoutpolicy.For(timeoutpolicy.Match{Kind: "fetch"}, timeoutpolicy.Fixed(10*time.Second)),
		timeoutpolicy.Fallback(timeoutpolicy.Fixed(time.Minute)),
	)
	for _, kind := range []string{"fetch", "command"} {
		budget, _ := timeoutpolicy.Resolve(policy, timeoutpolicy.Ask{Kind: kind, Remaining: timeoutpolicy.Unlimited})
		fmt.Println(kind, budget.Limit, "by", budget.GrantedBy)
	}
	// Output:
	// fetch 10s by fixed 10s
	// command 1m0s by fallback: fixed 1m
}
