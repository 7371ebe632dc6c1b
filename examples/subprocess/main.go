// Subprocess runs a shell that behaves badly: it puts a child into the background, in a
// session of its own, ignores TERM, and hangs after half of its output. When its time is
// over it is asked, then killed, with everything it started; what it had written by
// then is not lost.
//
//	go run ./examples/subprocess
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strings"
	"time"

	"curfew.example/resources"
	"curfew.example/resources/guard"
	"curfew.example/supervisor"
	"curfew.example/timeoutpolicy"
)

const script = `
trap '' TERM
setsid sleep 60 &
echo "12 of 30 tables dumped"
sleep 60
echo "30 of 30 tables dumped"
`

func main() {
	guard.Main() // first: this program is also the guard of the commands that it runs
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) (err error) {
	sup, err := supervisor.Start(supervisor.WithPolicy(timeoutpolicy.Compose(
		timeoutpolicy.Fixed(time.Second),             // until it is asked to end, by TERM
		timeoutpolicy.Grace(300*time.Millisecond),    // until it is killed
		timeoutpolicy.Cap(time.Minute).Kind("fetch"), // other kinds, other rules
	)))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sup.Close()) }()

	out, err := supervisor.Do(ctx, sup, resources.Command{Path: "sh", Args: []string{"-c", script}})
	expired, ok := errors.AsType[*supervisor.Expired](err)
	if !ok {
		return fmt.Errorf("the shell: want an expiry, got %w", err)
	}
	fmt.Println(expired)
	fmt.Printf("  output until then: %q\n", strings.TrimSpace(string(out.Stdout)))
	fmt.Printf("  the shell was ended by %s\n", out.Signal)
	fmt.Printf("  processes: %d seen, %d killed, %d left\n", out.Seen, out.Killed, out.Left)

	// The same supervisor, and a program that ends by itself: its exit code is an error
	// that comes with the result.
	out, err = supervisor.Do(ctx, sup, resources.Command{Path: "sh", Args: []string{"-c", "echo no such table >&2; exit 3"}})
	exit, ok := errors.AsType[*resources.ExitError](err)
	if !ok {
		return fmt.Errorf("the second shell: want an exit status, got %w", err)
	}
	fmt.Printf("%v: %q\n", exit, strings.TrimSpace(string(out.Stderr)))
	return nil
}
