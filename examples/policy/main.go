// Policy writes a rule of one's own and composes it with those that are there. The story
// is a web page that may take 30 seconds in all: when 14 of them are used, the next call
// may take the 16 that are left.
//
//	go run ./examples/policy
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"curfew.example/resources"
	"curfew.example/supervisor"
	"curfew.example/timeoutpolicy"
)

const pageLimit = 30 * time.Second

// wholePage grants a call what is left of its page, whose end is the deadline of the
// page's context. Who has none is no page, and gets what other rules grant.
type wholePage struct{}

// Grant implements timeoutpolicy.Policy.
func (p wholePage) Grant(ask timeoutpolicy.Ask, sofar timeoutpolicy.Budget) (timeoutpolicy.Budget, error) {
	if ask.Remaining == timeoutpolicy.Unlimited || ask.Within != 0 {
		return sofar, nil
	}
	sofar.Limit, sofar.GrantedBy = ask.Remaining, p.String()
	return sofar, nil
}

// Blocks implements timeoutpolicy.Blocker: it does not, so it is asked without a goroutine.
func (wholePage) Blocks() bool { return false }

func (wholePage) String() string { return "what is left of the page" }

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) (err error) {
	sup, err := supervisor.Start(supervisor.WithPolicy(wholePage{}))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sup.Close()) }()

	if err := ask(ctx, sup, 14*time.Second, ""); err != nil {
		return err
	}
	// A policy is changed while it is in use; a bad value would be refused here.
	err = sup.SetPolicy(timeoutpolicy.Compose(
		wholePage{},
		timeoutpolicy.Reserve(time.Second), // the page keeps a second to recover
		timeoutpolicy.Cap(2*time.Second).Class("advert"),           // an advert is not worth more
		timeoutpolicy.Fallback(timeoutpolicy.Fixed(5*time.Second)), // outside a page
	))
	if err != nil {
		return err
	}
	fmt.Println("now:", sup.Policy())
	return cmp.Or(
		ask(ctx, sup, 14*time.Second, ""),
		ask(ctx, sup, 14*time.Second, "advert"),
		ask(ctx, sup, 29*time.Second+500*time.Millisecond, ""),
		ask(ctx, sup, 0, ""),
	)
}

// ask makes a call of a page that has used so much of its time, or of no page at all,
// and prints what it was granted.
func ask(ctx context.Context, sup *supervisor.Supervisor, used time.Duration, class string) error {
	if used > 0 {
		began := time.Now().Add(-used)
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, began.Add(pageLimit))
		defer cancel()
	}
	work := resources.Func(func(context.Context) (string, error) { return "done", nil })
	var receipt supervisor.Receipt
	_, err := supervisor.Do(ctx, sup, work, supervisor.Class(class), supervisor.WithReceipt(&receipt))
	if err != nil && !errors.Is(err, supervisor.ErrTooLate) {
		return err
	}
	fmt.Printf("  %5s used%-10s", used, cmp.Or(", "+class, ""))
	if err != nil {
		fmt.Println("refused:", err)
		return nil
	}
	fmt.Printf("granted %s by %s\n", receipt.Budget.Limit.Round(time.Millisecond), receipt.Budget.GrantedBy)
	return nil
}
