// Curfew runs commands and makes requests that end on time, and says what became of what
// they held. "curfew help" says more.
package main

import (
	"context"
	"io"
	"log"
	"os"

	cmap "github.com/orcaman/concurrent-map"

	"curfew.example/resources/guard"
)

func main() {
	guard.Main()
	// net/http logs what a server sends unasked, bytes and all. Nothing of ours logs.
	log.SetOutput(io.Discard)
	if code, is := asTimeout(os.Args); is {
		os.Exit(code)
	}
	quickStart()
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv))
}

// quickStart makes the actor system, of which a process of ours has one with a handful of
// actors, cheap to start. Its registry is 1,024 concurrent maps of, by default, 32 maps
// each: 65,000 allocations and 3 ms that "curfew exec" would have before it does anything.
// The number is read whenever a map is used, so it may be set only before the first is made.
func quickStart() { cmap.SHARD_COUNT = 1 }
