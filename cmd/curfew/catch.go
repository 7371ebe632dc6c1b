package main

import (
	"os"
	"os/signal"
)

// deafToPipes keeps SIGPIPE from ending the process, so that a write to a pipe nobody reads
// is an error like others, and the exit code and the report are had all the same. A command
// has the usual SIGPIPE: what is caught is not inherited. stop undoes it.
func deafToPipes() (stop func()) {
	broken := brokenPipe()
	if broken == nil {
		return func() {}
	}
	dropped := make(chan os.Signal, 1)
	signal.Notify(dropped, broken)
	return func() { signal.Stop(dropped) }
}

// catch is the signals that curfew takes for itself.
type catch struct{ signals chan os.Signal }

// newCatch catches those of list that were not ignored when curfew was started: nohup(1)
// has its effect.
func newCatch(list []os.Signal) *catch {
	c := &catch{signals: make(chan os.Signal, 16)}
	for _, s := range list {
		if !signal.Ignored(s) {
			signal.Notify(c.signals, s)
		}
	}
	return c
}

// letGo gives the signals that end a process their usual effect back. QUIT is kept: its
// usual effect on a Go program is a dump of all stacks.
func (c *catch) letGo() {
	for _, s := range ending() {
		if s != quit() && !signal.Ignored(s) {
			signal.Reset(s)
		}
	}
}

// stop catches no more.
func (c *catch) stop() { signal.Stop(c.signals) }
