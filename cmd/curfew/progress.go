package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// progressAfter is when the progress line is first shown, and how often it changes.
const progressAfter = time.Second

// progress is a line on a terminal that says how long the work has been going on. The
// zero value shows nothing.
type progress struct {
	once sync.Once
	over chan struct{} // closed to end it; nil while there is none
	gone sync.WaitGroup
}

// startProgress shows the line on stderr, if that is a terminal and the flags want it.
func (j *job) startProgress(what string) {
	if j.limits.quiet || !isTerminal(isFile(j.stderr)) {
		return
	}
	limit := j.limits.timeout
	if limit == "" {
		limit = j.getenv("CURFEW_TIMEOUT")
	}
	j.progress = newProgress(j.says, what, limit)
}

func newProgress(to io.Writer, what, limit string) *progress {
	p := &progress{over: make(chan struct{})}
	// Ends at over; stop waits for it.
	p.gone.Go(func() { p.show(to, what, limit) })
	return p
}

// show writes the line anew each second, and takes it away in the end.
func (p *progress) show(to io.Writer, what, limit string) {
	const clear = "\r\x1b[K"
	start, shown := time.Now(), false
	tick := time.NewTicker(progressAfter)
	defer tick.Stop()
	for {
		select {
		case <-p.over:
			if shown {
				fmt.Fprint(to, clear)
			}
			return
		case now := <-tick.C:
			shown = true
			fmt.Fprintf(to, "%s%s: %s of %s", clear, what, now.Sub(start).Round(time.Second), oneLine(limit))
		}
	}
}

// stop takes the line away. It may be called more than once.
func (p *progress) stop() {
	if p.over == nil {
		return
	}
	p.once.Do(func() { close(p.over) })
	p.gone.Wait()
}
