package resources

import (
	"context"
	"os/exec"
	"syscall"
	"time"
)

// ScriptedKiller stands in for an operating system in tests of the ladder. It obeys one
// signal, or none, and can be long in starting.
type ScriptedKiller struct {
	Obeys syscall.Signal // ends it; 0 is none
	Sent  []ScriptedSignal

	begin time.Time
	ended chan struct{}
}

// ScriptedSignal is a signal that was sent, and when.
type ScriptedSignal struct {
	Signal syscall.Signal
	After  time.Duration
}

// ScriptedProcess is the piece of a process under k. ready says that it has started; else
// it is starting until up is called.
func ScriptedProcess(k *ScriptedKiller, ready bool, steps ...Step) (piece *Piece, up func()) {
	parsed, err := parseLadder(steps)
	if err != nil {
		panic(err)
	}
	k.begin, k.ended = time.Now(), make(chan struct{})
	p := newProcess("scripted", parsed, k)
	p.phase.Store(phaseBegun)
	up = func() {
		p.up = true
		close(p.ready)
	}
	if ready {
		up()
	}
	return p.piece(), up
}

// KeptProcess is the piece of a process that has not begun to start, and its start.
func KeptProcess() (piece *Piece, start func() error) {
	p := newProcess("scripted", nil, &ScriptedKiller{})
	return p.piece(), func() error { return p.start(context.Background(), Command{Path: "sh"}, &streams{}) }
}

func (k *ScriptedKiller) name() string            { return "scripted" }
func (k *ScriptedKiller) watchdog() string        { return "test" }
func (k *ScriptedKiller) pid() int                { return 42 }
func (k *ScriptedKiller) exited() <-chan struct{} { return k.ended }
func (k *ScriptedKiller) leave()                  {}
func (k *ScriptedKiller) reap() *exitStatus       { return nil }
func (k *ScriptedKiller) count() (int, int, int)  { return 1, 0, 0 }

func (k *ScriptedKiller) start(context.Context, func() *exec.Cmd) error { return nil }

func (k *ScriptedKiller) signal(sig syscall.Signal) {
	if len(k.Sent) == 0 || k.Sent[len(k.Sent)-1].Signal != sig {
		k.Sent = append(k.Sent, ScriptedSignal{sig, time.Since(k.begin)})
	}
	if k.Obeys == sig && !isClosed(k.ended) {
		close(k.ended)
	}
}

func (k *ScriptedKiller) gone(ctx context.Context) bool {
	return poll(ctx, func() bool { return isClosed(k.ended) })
}

func (k *ScriptedKiller) left() []Leftover {
	if isClosed(k.ended) {
		return nil
	}
	return []Leftover{{What: "process main", PID: 42, State: "D"}, {What: "process other", PID: 43, State: "D"}}
}
