//go:build unix

package supervisor_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"curfew.example/resources"
	"curfew.example/supervisor"
	"curfew.example/timeoutpolicy"
)

// The time of a shell that ignores TERM is over: it is killed together with what it put
// into the background, and what it had written by then is not lost.
func ExampleDo_command() {
	sup, err := supervisor.Start(supervisor.WithPolicy(timeoutpolicy.Compose(
		timeoutpolicy.Fixed(200*time.Millisecond),
		timeoutpolicy.Grace(100*time.Millisecond),
	)))
	if err != nil {
		log.Fatal(err)
	}
	defer sup.Close()

	script := "trap '' TERM; sleep 60 & echo half of it; sleep 60; echo the rest"
	out, err := supervisor.Do(context.Background(), sup, resources.Command{Path: "sh", Args: []string{"-c", script}})
	fmt.Println("timeout:", errors.Is(err, context.DeadlineExceeded))
	fmt.Printf("%sended by %s, left: %d\n", out.Stdout, out.Signal, out.Left)
	// Output:
	// timeout: true
	// half of it
	// ended by KILL, left: 0
}
