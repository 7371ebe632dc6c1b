package remote

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"curfew.example/actors"
	"curfew.example/resources"
	"curfew.example/timeoutpolicy"
)

// desk takes requests to one peer by message, in the place of its supervisor.
type desk struct {
	peer  *Peer
	asked map[deskKey]*deskEntry
}

type deskKey struct {
	sender string
	id     uint64
}

type deskEntry struct {
	sender *actor.PID
	cancel context.CancelCauseFunc
}

// deskDone tells the desk that a request is over.
type deskDone struct{ key deskKey }

// errCancelMessage is the cause of a request stopped by Cancel.
var errCancelMessage = errors.New("cancelled by its requester")

func newDesk(p *Peer) *desk { return &desk{p, make(map[deskKey]*deskEntry)} }

// Receive implements actor.Actor.
func (d *desk) Receive(c actor.Context) {
	defer func() {
		if v := recover(); v != nil {
			c.Logger().Error("curfew: a peer's desk panicked; this is a bug", slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
		}
	}()
	switch msg := c.Message().(type) {
	case *actors.Request:
		d.request(c, msg)
	case *actors.Cancel:
		if c.Sender() != nil {
			d.stop(errCancelMessage, func(k deskKey) bool { return k == deskKey{c.Sender().String(), msg.ID} })
		}
	case *deskDone:
		d.done(c, msg.key)
	case *actor.Terminated:
		d.stop(actors.ErrRequesterGone, func(k deskKey) bool { return k.sender == msg.Who.String() })
	case *actor.Stopping:
		d.stop(actors.ErrClosed, func(deskKey) bool { return true })
	case *actor.Stopped:
		close(d.peer.stopped)
	}
}

func (d *desk) request(c actor.Context, msg *actors.Request) {
	sender := c.Sender()
	if sender == nil {
		c.Logger().Warn("curfew: a request without a sender was refused", slog.Uint64("id", msg.ID))
		return
	}
	key := deskKey{sender.String(), msg.ID}
	left := msg.Left(c)
	if err := d.refuses(c, key, msg, left); err != nil {
		err = fmt.Errorf("request %d: %w", msg.ID, err)
		c.Send(sender, &actors.Response{ID: msg.ID, Err: err, Receipt: &actors.Receipt{Outcome: actors.Refused, Error: err.Error()}})
		return
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	d.asked[key] = &deskEntry{sender, cancel}
	if isActor(c, sender) {
		c.Watch(sender) // twice is as once
	}
	// Ends by its deadline and the node's grace; RequestsMax of them at most. Close waits.
	self := c.Self()
	d.peer.busy.Go(func() { d.peer.answer(ctx, cancel, key, sender, self, msg, left) })
}

// refuses says what is wrong with a request, if anything. What its sender sent before it
// stopped is read after that, and nobody would hear of it.
func (d *desk) refuses(c actor.Context, key deskKey, msg *actors.Request, left time.Duration) error {
	_, there := c.ActorSystem().ProcessRegistry.Get(c.Sender())
	switch {
	case !there:
		return actors.ErrRequesterGone
	case d.asked[key] != nil:
		return actors.ErrDuplicateID
	case left < 0:
		return timeoutpolicy.ErrTooLate
	case msg.CleanupMethod != "":
		return &resources.Invalid{Kind: "request", Field: "CleanupMethod", Why: "cannot be sent to another process"}
	case len(d.asked) >= d.peer.node.conf.RequestsMax:
		return actors.ErrOverloaded
	}
	return nil
}

// answer makes a request and answers its sender: off the books first, so that whoever has
// the answer may use the ID again.
func (p *Peer) answer(ctx context.Context, cancel context.CancelCauseFunc, key deskKey, sender, desk *actor.PID, msg *actors.Request, left time.Duration) {
	defer cancel(nil)
	if left > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, left)
		defer stop()
	}
	resp := &actors.Response{ID: msg.ID, Receipt: &actors.Receipt{}}
	resp.Value, resp.Err = p.Do(ctx, msg.Use, Options{Within: msg.Within, Class: msg.Class, Priority: msg.Priority, Receipt: resp.Receipt})
	if resp.Err != nil && resp.Receipt.Outcome == actors.Undecided {
		resp.Receipt.Error = resp.Err.Error()
	}
	p.node.system.Root.Send(desk, &deskDone{key})
	p.node.system.Root.Send(sender, resp)
}

// isActor tells an actor of this process from a future or a stranger: watching the
// process behind a future would complete it with the Watch.
func isActor(c actor.Context, pid *actor.PID) bool {
	p, ok := c.ActorSystem().ProcessRegistry.Get(pid)
	if !ok {
		return false
	}
	_, ok = p.(*actor.ActorProcess)
	return ok
}

func (d *desk) stop(cause error, which func(deskKey) bool) {
	for key, entry := range d.asked {
		if which(key) {
			entry.cancel(cause)
		}
	}
}

// done takes a request off the books; who has none left is not watched.
func (d *desk) done(c actor.Context, key deskKey) {
	entry := d.asked[key]
	if entry == nil {
		return
	}
	delete(d.asked, key)
	for other := range d.asked {
		if other.sender == key.sender {
			return
		}
	}
	if isActor(c, entry.sender) {
		c.Unwatch(entry.sender)
	}
}
