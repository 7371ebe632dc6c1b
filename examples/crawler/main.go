// Crawler is a tree of plain actors: a crawl over hosts (host.go), each of which asks for
// its pages by message. A host that hangs, drips or is not there costs its own time alone:
// the others are through long before.
//
//	go run ./examples/crawler
package main

import (
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"curfew.example/actors"
	"curfew.example/supervisor"
	"curfew.example/timeoutpolicy"
)

// crawl spawns an actor for each site, prints what they report, and stops after the last.
type crawl struct {
	supervisor *actor.PID
	sites      []site
	open       int           // sites under way
	done       chan struct{} // closed when the actor, and with it its hosts, has stopped
}

// Receive implements actor.Actor.
func (a *crawl) Receive(c actor.Context) {
	switch msg := c.Message().(type) {
	case *actor.Started:
		for _, s := range a.sites {
			c.Spawn(actor.PropsFromProducer(func() actor.Actor { return &host{supervisor: a.supervisor, site: s} }))
		}
		a.open = len(a.sites)
	case *report:
		fmt.Println(msg.text)
		if a.open--; a.open == 0 {
			c.Stop(c.Self())
		}
	case *actor.Stopped:
		close(a.done)
	}
}

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() (err error) {
	sites, closeSites := openSites()
	defer closeSites()
	system := actors.NewSystem(nil)
	defer system.Shutdown()
	sup, err := supervisor.Start(supervisor.Under(system.Root), supervisor.WithPolicy(timeoutpolicy.Compose(
		timeoutpolicy.Fixed(time.Second),          // for a whole page, however it comes
		timeoutpolicy.Stall(300*time.Millisecond), // for a page of which nothing comes
	)))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sup.Close()) }()

	a := &crawl{supervisor: sup.PID(), sites: sites, done: make(chan struct{})}
	system.Root.Spawn(actor.PropsFromProducer(func() actor.Actor { return a }))
	<-a.done // every page has a limit, so every host comes to an end
	fmt.Println("left over:", len(sup.Leftovers()))
	return nil
}
