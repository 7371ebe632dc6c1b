// Coprocess talks to a program over its standard input and output, line by line. One
// question is more than the program can bear; it goes, with all it has started, when the
// time for the answer is over, and the next question finds a new one.
//
//	go run ./examples/coprocess
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"curfew.example/resources"
	"curfew.example/resources/guard"
	"curfew.example/supervisor"
	"curfew.example/timeoutpolicy"
)

const script = `while read -r n; do
	[ "$n" != 0 ] || sleep 60
	echo "$((2520 / n))"
done`

func main() {
	guard.Main() // first: this program is also the guard of the programs that it talks to
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) (err error) {
	sup, err := supervisor.Start(supervisor.WithPolicy(timeoutpolicy.Fixed(500 * time.Millisecond)))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sup.Close()) }()

	shell := resources.Command{Path: "sh", Args: []string{"-c", script}}
	divider, err := supervisor.Open(ctx, sup, resources.Coprocess{Command: shell})
	if err != nil {
		return err
	}
	for _, n := range []string{"7", "0", "9"} {
		answer, err := divider.Ask(ctx, n)
		if err != nil {
			fmt.Printf("%s: %v\n", n, err)
			continue
		}
		fmt.Printf("%s: %s\n", n, answer)
	}
	return divider.Close()
}
