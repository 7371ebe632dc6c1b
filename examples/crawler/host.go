package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"curfew.example/actors"
	"curfew.example/resources"
)

// report is what a host has to say in the end.
type report struct{ text string }

// host gets the pages of one site, one after the other, as links lead to them.
type host struct {
	supervisor *actor.PID
	site       site
	began      time.Time
	known      []string // pages, in the order they are asked for
	pages      int      // of those, how many have come
}

// Receive implements actor.Actor.
func (h *host) Receive(c actor.Context) {
	switch msg := c.Message().(type) {
	case *actor.Started:
		h.began, h.known = time.Now(), []string{"/"}
		h.next(c)
	case *actors.Response:
		h.answered(c, msg)
	}
}

func (h *host) answered(c actor.Context, resp *actors.Response) {
	page, err := actors.As[*resources.Response](resp)
	if err != nil {
		h.report(c, err.Error())
		return
	}
	h.pages++
	h.known = append(h.known, strings.Fields(string(page.Body))...)
	h.next(c)
}

func (h *host) next(c actor.Context) {
	if h.pages == len(h.known) {
		h.report(c, "that is all")
		return
	}
	use := resources.Of(resources.Fetch{URL: h.site.url + h.known[h.pages]})
	c.Request(h.supervisor, &actors.Request{Use: use})
}

func (h *host) report(c actor.Context, end string) {
	took := time.Since(h.began).Round(time.Millisecond)
	c.Send(c.Parent(), &report{fmt.Sprintf("%-8s %d pages in %6s; %s", h.site.name, h.pages, took, end)})
	c.Stop(c.Self())
}
