package main

import (
	"context"
	"os"
	"sync"
	"time"

	"curfew.example/cmd/curfew/internal/family"
)

// reapEvery is how long an adopted child that has ended stays a zombie, at most.
const reapEvery = time.Second

// forwarding passes signals on to the command of exec, and waits for the children it has
// adopted. It goes on until stop.
type forwarding struct {
	kin    *family.Family
	shared bool // the command is in our own process group
	begun  bool // the command was there once
	cancel context.CancelCauseFunc
	caught *catch
	over   chan struct{}
	gone   sync.WaitGroup
}

// forwardSignals begins. The context ends when a signal comes that cannot be passed on,
// because the command has not been started, or because it cannot be found here.
func forwardSignals(ctx context.Context, kin *family.Family, shared bool) (context.Context, *forwarding) {
	ctx, cancel := context.WithCancelCause(ctx)
	f := &forwarding{
		kin: kin, shared: shared, cancel: cancel,
		caught: newCatch(forwarded()),
		over:   make(chan struct{}),
	}
	// Ends at over; stop waits for it.
	f.gone.Go(f.run)
	return ctx, f
}

func (f *forwarding) run() {
	// Not at SIGCHLD: one comes with each command's end, and to stop listening just then
	// costs milliseconds.
	tick := time.NewTicker(reapEvery)
	defer tick.Stop()
	for {
		select {
		case s := <-f.caught.signals:
			f.pass(s)
		case <-tick.C:
			f.kin.Reap()
		case <-f.over:
			return
		}
	}
}

// pass sends s to the command.
func (f *forwarding) pass(s os.Signal) {
	if f.shared && sentByTerminal(s) {
		return // the command has it already
	}
	main := f.kin.Main()
	switch {
	case main == nil && f.begun:
		// It has ended, and what follows has bounds of its own.
	case main == nil:
		if f.lethal(s) {
			f.cancel(&interrupted{s})
		}
	default:
		f.begun = true
		f.send(main, s)
	}
}

func (f *forwarding) send(main *os.Process, s os.Signal) {
	defer main.Release()
	if f.shared || !toGroup(s) {
		_ = main.Signal(s)
		return
	}
	// The command leads a group of its own. Its number is taken while it, or any other
	// member, is there.
	signalGroup(main.Pid, s)
}

// lethal reports whether s ends those who do not care.
func (f *forwarding) lethal(s os.Signal) bool {
	for _, e := range ending() {
		if s == e {
			return true
		}
	}
	return false
}

// stop ends the forwarding.
func (f *forwarding) stop() {
	close(f.over)
	f.gone.Wait()
	f.caught.stop()
	f.cancel(nil)
}
