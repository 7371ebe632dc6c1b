package resources

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// killWait is how long Force waits for the dead where no budget is known: see forceWait.
	killWait = 800 * time.Millisecond

	// forceSpare is the most that Force leaves of its budget.
	forceSpare = 200 * time.Millisecond

	// killAgain is how often Force kills anew, for what was forked meanwhile.
	killAgain = 20 * time.Millisecond

	// finishWait is how long the end of a command waits for what it left behind,
	// before that becomes part of the release.
	finishWait = 100 * time.Millisecond
)

// over has ended.
var over = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// errStubborn is what Close returns when force came before the end.
var errStubborn = errors.New("did not end when asked")

// Step is one rung of a ladder of signals.
type Step struct {
	// Signal is sent to all that can be reached: a name as ParseSignal takes it.
	Signal string

	// Wait is how long they have before the next step. The last one's is as long as
	// the budget's Grace allows, whatever it says.
	Wait time.Duration
}

// signalStep is a Step that has been parsed.
type signalStep struct {
	signal syscall.Signal
	wait   time.Duration
}

// parseLadder makes steps of a ladder: TERM when it is empty.
func parseLadder(ladder []Step) ([]signalStep, error) {
	if len(ladder) == 0 {
		return []signalStep{{signal: syscall.SIGTERM}}, nil
	}
	steps := make([]signalStep, 0, len(ladder))
	for _, s := range ladder {
		sig, err := ParseSignal(s.Signal)
		if err != nil {
			return nil, &Invalid{Kind: commandKind, Field: "Ladder", Why: "unknown signal"}
		}
		if s.Wait < 0 {
			return nil, &Invalid{Kind: commandKind, Field: "Ladder", Why: "a wait is negative"}
		}
		steps = append(steps, signalStep{sig, s.Wait})
	}
	return steps, nil
}

// process is the main process of one command and, as a piece, all that can be reached
// of what it started. Run starts it, waits for it and finishes it; the runtime closes
// and forces it, possibly at the same time.
type process struct {
	name    string
	steps   []signalStep
	killer  killer
	kept    *Piece
	waits   time.Duration // how long Force waits for the dead
	started time.Time
	left    bool // what it left is left alone

	phase  atomic.Int32       // phaseKept, then one of the others
	ready  chan struct{}      // closed when the start is over, well or not
	up     bool               // it has started; valid once ready is closed
	asking context.Context    // ends when force takes over
	insist context.CancelFunc // ends asking

	settled chan struct{} // closed when the release is over, well or not
	settle1 sync.Once
}

// A process is kept before it is started. Whichever comes first, its start or its
// release, decides whether there will be one.
const (
	phaseKept = iota
	phaseBegun
	phaseNever
)

func newProcess(name string, steps []signalStep, k killer) *process {
	p := &process{
		name: name, steps: steps, killer: k, waits: killWait,
		ready: make(chan struct{}), settled: make(chan struct{}),
	}
	p.asking, p.insist = context.WithCancel(context.Background())
	return p
}

// piece is kept before the start, so that a start that hangs cannot escape.
func (p *process) piece() *Piece {
	p.kept = &Piece{
		What:  "process " + p.name,
		By:    p.killer.name(),
		Close: p.close,
		Force: p.force,
	}
	return p.kept
}

// start starts the program, unless the time is over. It says so to close and force.
func (p *process) start(ctx context.Context, c Command, s *streams) error {
	if !p.phase.CompareAndSwap(phaseKept, phaseBegun) {
		return ErrSealed
	}
	defer close(p.ready)
	path, err := c.lookPath()
	if err == nil {
		err = c.inDir()
	}
	if err == nil {
		err = p.spawn(ctx, func() *exec.Cmd { return c.build(path, s) })
	}
	if err != nil {
		return &StartError{Target: p.name, Err: bare(err)}
	}
	p.started, p.up = time.Now(), true
	if p.asking.Err() != nil {
		// The start took so long that force has come and given up.
		p.killer.signal(syscall.SIGKILL)
		p.goneWithin(context.Background(), p.waits)
	}
	return nil
}

// build makes the command anew for each attempt: an exec.Cmd starts once.
func (c Command) build(path string, s *streams) *exec.Cmd {
	cmd := &exec.Cmd{Path: path, Args: append([]string{c.Path}, c.Args...), Dir: c.Dir}
	cmd.Env = c.environ(cmd.Environ())
	// A nil *os.File in an interface is not a nil reader.
	if f := s.child[0]; f != nil {
		cmd.Stdin = f
	}
	if f := s.child[1]; f != nil {
		cmd.Stdout = f
	}
	if f := s.child[2]; f != nil {
		cmd.Stderr = f
	}
	return cmd
}

// spawn starts what build makes. A program that has just been written may be open for
// writing still in a child that another goroutine forked at that moment (golang/go#22315):
// it is tried again, for 31 ms in all.
func (p *process) spawn(ctx context.Context, build func() *exec.Cmd) error {
	for pause := time.Millisecond; ; pause *= 2 {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		err := p.killer.start(ctx, build)
		if !isTextBusy(err) || pause > 16*time.Millisecond {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// wait returns when the command has ended by itself (true), or when its release is over.
func (p *process) wait(ctx context.Context) bool {
	select {
	case <-p.killer.exited():
		// When the context has ended too, the release may be why it exited, and
		// what is left has the grace that the release gives.
		if ctx.Err() == nil {
			return true
		}
	case <-ctx.Done():
	case <-p.settled:
	}
	<-p.settled
	return false
}

// finish ends the background of a command whose main process has ended by itself, and
// takes the piece off when all have gone. It reports false when a release came first.
func (p *process) finish(held *Held, leave bool) bool {
	if leave {
		if !held.Drop(p.kept) {
			<-p.settled
			return false
		}
		p.left = true
		p.killer.leave()
		return true
	}
	p.killer.signal(syscall.SIGKILL)
	// Mostly nothing is left, and no timer needed to see that.
	if p.killer.gone(over) || p.goneWithin(context.Background(), finishWait) {
		held.Drop(p.kept)
	}
	return true
}

// close climbs the ladder and returns when all that can be reached has gone, or when
// force takes over. It waits no longer than the runtime's grace, which ends in force.
func (p *process) close() error {
	if p.never() {
		return nil
	}
	if p.asking.Err() != nil {
		// A later attempt of the runtime: the ladder has been climbed.
		return p.check()
	}
	select {
	case <-p.ready:
	case <-p.asking.Done():
		return errStubborn
	}
	if p.up && (!p.climb(p.asking) || p.asking.Err() != nil) {
		// What has gone after force came has gone by it.
		return errStubborn
	}
	p.settle()
	return nil
}

// never reports whether there will be no process, because it has not begun to start:
// it will not from now on.
func (p *process) never() bool {
	never := p.phase.CompareAndSwap(phaseKept, phaseNever) || p.phase.Load() == phaseNever
	if never {
		p.settle()
	}
	return never
}

// climb sends the signals, each after the wait of the one before, and reports whether
// all have gone before ctx ended.
func (p *process) climb(ctx context.Context) bool {
	for i, s := range p.steps {
		if i > 0 && p.goneWithin(ctx, p.steps[i-1].wait) {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		p.killer.signal(s.signal)
	}
	return p.killer.gone(ctx)
}

func (p *process) goneWithin(ctx context.Context, d time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return p.killer.gone(ctx)
}

// forceWait is how long Force waits for the dead: a little less than its budget, so that the
// names of those left come in time.
func forceWait(budget time.Duration) time.Duration {
	return budget - min(budget/5, forceSpare)
}

// force kills all that can be reached until nothing is left, for most of the budget.
func (p *process) force() error {
	if p.never() {
		return nil
	}
	p.insist()
	defer p.settle()
	ctx, cancel := context.WithTimeout(context.Background(), p.waits)
	defer cancel()
	select {
	case <-p.ready:
	case <-ctx.Done():
		return fmt.Errorf("process %s: its start has not returned", p.name)
	}
	if !p.up {
		return nil
	}
	for {
		p.killer.signal(syscall.SIGKILL)
		if p.goneWithin(ctx, killAgain) {
			return nil
		}
		if ctx.Err() != nil {
			return p.check()
		}
	}
}

// check looks once, and names what is left.
func (p *process) check() error {
	if !isClosed(p.ready) {
		return errStubborn
	}
	if !p.up {
		return nil
	}
	if left := p.killer.left(); len(left) > 0 {
		return &LeftoverError{Left: p.describe(left)}
	}
	return nil
}

// describe says whose the processes are.
func (p *process) describe(left []Leftover) []Leftover {
	main := p.killer.pid()
	for i := range left {
		if left[i].PID == main {
			left[i].What = "process " + p.name
			continue
		}
		left[i].What += ", started by " + p.name
	}
	return left
}

func (p *process) settle() { p.settle1.Do(func() { close(p.settled) }) }
