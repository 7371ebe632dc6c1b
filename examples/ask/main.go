// Ask has an actor of one's own, in an actor system of one's own, use resources by
// message: it asks two mirrors for the same file, takes the first answer and cancels the
// other request. It never blocks, and handles no timeout: each request has one answer.
//
//	go run ./examples/ask
package main

import (
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"curfew.example/actors"
	"curfew.example/resources"
	"curfew.example/supervisor"
)

// download is an actor that gets one file from whichever mirror is first.
type download struct {
	supervisor *actor.PID
	mirrors    []string
	open       int           // requests not yet answered
	done       chan struct{} // closed when the actor has stopped
}

// Receive implements actor.Actor.
func (d *download) Receive(c actor.Context) {
	switch msg := c.Message().(type) {
	case *actor.Started:
		for i, url := range d.mirrors {
			c.Request(d.supervisor, &actors.Request{
				ID:     uint64(i),
				Use:    resources.Of(resources.Fetch{URL: url}),
				Within: 2 * time.Second,
			})
		}
		d.open = len(d.mirrors)
	case *actors.Response:
		d.answered(c, msg)
	case *actor.Stopped:
		close(d.done)
	}
}

func (d *download) answered(c actor.Context, resp *actors.Response) {
	file, err := actors.As[*resources.Response](resp)
	if err != nil {
		fmt.Printf("mirror %d: %v\n", resp.ID, err)
	} else {
		fmt.Printf("mirror %d: %q\n", resp.ID, file.Body)
		d.cancelOthers(c, resp.ID)
	}
	if d.open--; d.open == 0 {
		c.Stop(c.Self())
	}
}

// cancelOthers uses Request, not Send: an ID is its sender's own.
func (d *download) cancelOthers(c actor.Context, first uint64) {
	for i := range d.mirrors {
		if id := uint64(i); id != first {
			c.Request(d.supervisor, &actors.Cancel{ID: id})
		}
	}
}

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() (err error) {
	quiet := func(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }
	system := actor.NewActorSystem(actor.WithLoggerFactory(quiet))
	defer system.Shutdown()
	sup, err := supervisor.Start(supervisor.Under(system.Root))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sup.Close()) }()

	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer slow.Close()
	quick := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "the file") }))
	defer quick.Close()

	d := &download{supervisor: sup.PID(), mirrors: []string{slow.URL, quick.URL}, done: make(chan struct{})}
	system.Root.Spawn(actor.PropsFromProducer(func() actor.Actor { return d }))
	<-d.done // it stops when all is answered, which the limits see to
	fmt.Println("left over:", len(sup.Leftovers()))
	return nil
}
