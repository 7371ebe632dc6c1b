//go:build unix

package tests

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/resources"
	"curfew.example/supervisor"
	"curfew.example/timeoutpolicy"
)

// A storm is a hundred callers of one session whose server is frozen, thawed, killed and
// started again under them.
const (
	stormCallers = 100
	stormLimit   = 400 * time.Millisecond
	stormPause   = 20 * time.Millisecond // between the calls of one caller
)

// stormEnough is of what a phase waits for. Under the race detector each of them takes longer,
// and one of every caller shows what more would.
func stormEnough() int64 {
	if raceDetector {
		return stormCallers
	}
	return 3 * stormCallers
}

// storm is what the callers share.
type storm struct {
	sup     *supervisor.Supervisor
	call    func(ctx context.Context, n int) error // fails on an answer that is another's
	stop    chan struct{}
	lag     atomic.Int64 // by which plain timers were late so far: the machine's doing
	good    atomic.Int64
	expired atomic.Int64
	failed  atomic.Int64
	all     sync.WaitGroup
}

// errOthers says that an answer was another's.
var errOthers = errors.New("an answer that was another's")

func startStorm(t *testing.T, sup *supervisor.Supervisor, call func(context.Context, int) error) *storm {
	t.Helper()
	s := &storm{sup: sup, call: call, stop: make(chan struct{})}
	s.all.Go(s.measure)
	for i := range stormCallers {
		s.all.Go(func() { s.caller(t, i) })
	}
	return s
}

// pause waits for d; false says that the storm is over.
func (s *storm) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.stop:
		return false
	}
}

func (s *storm) measure() {
	const length = 5 * time.Millisecond
	for due := time.Now().Add(length); s.pause(time.Until(due)); due = time.Now().Add(length) {
		s.lag.Add(int64(max(0, time.Since(due))))
	}
}

func (s *storm) caller(t *testing.T, i int) {
	for n := i; s.pause(stormPause); n += stormCallers {
		start, lag := time.Now(), s.lag.Load()
		err := s.call(supervisor.WithOptions(t.Context(), supervisor.Within(stormLimit)), n)
		late := time.Since(start) - stormLimit
		assert.LessOrEqual(t, late, slack+time.Duration(s.lag.Load()-lag), "%v", err)
		var expired *supervisor.Expired
		switch {
		case err == nil:
			s.good.Add(1)
		case assert.NotErrorIs(t, err, errOthers) && errors.As(err, &expired):
			assert.Empty(t, expired.Receipt.Leftover)
			s.expired.Add(1)
		default:
			s.failed.Add(1)
		}
	}
}

// more waits until count has grown by enough.
func more(t *testing.T, count *atomic.Int64, what string) {
	t.Helper()
	from := count.Load()
	eventually(t, func() bool { return count.Load() >= from+stormEnough() }, what)
}

// mute reads what a server says, so that it can go on.
func (s *storm) mute(server *process) *process {
	s.all.Go(func() {
		for {
			select {
			case <-server.lines:
			case <-server.ended:
				return
			case <-s.stop:
				return
			}
		}
	})
	return server
}

// rage takes the storm through all that happens to a server. again starts it anew, at the
// same address.
func (s *storm) rage(t *testing.T, server *process, again func() *process) {
	t.Helper()
	s.mute(server)
	more(t, &s.good, "answers")
	require.NoError(t, server.Process.Signal(syscall.SIGSTOP))
	more(t, &s.expired, "expiries while it is frozen")
	require.NoError(t, server.Process.Signal(syscall.SIGCONT))
	more(t, &s.good, "answers once it is thawed")
	require.NoError(t, server.Process.Kill())
	receive(t, server.ended, "its end")
	more(t, &s.failed, "refusals while it is dead")
	server = s.mute(again())
	more(t, &s.good, "answers of its successor")
	require.NoError(t, server.Process.Signal(syscall.SIGSTOP))
	more(t, &s.expired, "expiries while that is frozen")
	require.NoError(t, server.Process.Kill())
	receive(t, server.ended, "its end, out of the frost")
	server = s.mute(again())
	more(t, &s.good, "answers of the third")
	close(s.stop)
	s.all.Wait()
	require.NoError(t, server.Process.Kill())
	assert.Empty(t, s.sup.Leftovers())
}

func TestAHundredCallersOfAPythonServerThatIsFrozenKilledAndRestarted(t *testing.T) {
	needs(t, "python3")
	sup := realWorld(t, supervisor.WithPolicy(timeoutpolicy.Fixed(patience)))
	server, url := startPython(t, "HTTP/1.1")
	session := open(t, sup, resources.XMLRPC{URL: url})
	s := startStorm(t, sup, func(ctx context.Context, n int) error {
		reply := -1
		err := session.Call(ctx, "echo", []any{n}, &reply)
		if reply != n && (err == nil || reply != -1) { // an answer may come as the time runs out
			return fmt.Errorf("%w: %d for %d (%v)", errOthers, reply, n, err)
		}
		return err
	})
	s.rage(t, server, func() *process { return startPythonAt(t, "HTTP/1.1", url) })
}

func TestAHundredCallersOfASupervisordThatIsFrozenKilledAndRestarted(t *testing.T) {
	needs(t, "supervisord")
	sup := realWorld(t, supervisor.WithPolicy(timeoutpolicy.Fixed(patience)))
	d := newSupervisord(t)
	server := d.start(t)
	session := open(t, sup, resources.XMLRPC{URL: "unix://" + d.socket, User: "someone", Password: "something"})
	s := startStorm(t, sup, func(ctx context.Context, n int) error {
		name, info := []string{"slow", "quick"}[n/stormCallers%2], map[string]any(nil)
		err := session.Call(ctx, "supervisor.getProcessInfo", []any{name}, &info)
		if info["name"] != name && (err == nil || info != nil) {
			return fmt.Errorf("%w: %v for %s (%v)", errOthers, info, name, err)
		}
		return err
	})
	s.rage(t, server, func() *process { return d.start(t) })
}
