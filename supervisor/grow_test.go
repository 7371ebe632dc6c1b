package supervisor_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/actors"
	"curfew.example/resources"
	"curfew.example/supervisor"
	"curfew.example/timeoutpolicy"
)

// faithful runs until it is stopped.
func faithful() supervisor.ServiceFunc {
	return func(ctx context.Context) error {
		<-ctx.Done()
		return context.Cause(ctx)
	}
}

// stubbornFor runs for d, whatever it is told.
func stubbornFor(d time.Duration) supervisor.ServiceFunc {
	return func(context.Context) error {
		time.Sleep(d)
		return nil
	}
}

// grow grows a tree of these children.
func grow(t *testing.T, sup *supervisor.Supervisor, tree supervisor.Tree) *supervisor.Grown {
	t.Helper()
	g, err := sup.Grow(t.Context(), tree)
	require.NoError(t, err)
	return g
}

// twoHundred is a tree in which every tenth child will not stop before release is closed.
func twoHundred(release <-chan struct{}) (tree supervisor.Tree, stubborn []string) {
	tree.Name = "top"
	for i := range 200 {
		c := supervisor.Child{Name: fmt.Sprint("n", i), Service: faithful(), Shutdown: time.Hour}
		if i%10 == 3 {
			stubborn = append(stubborn, "top/"+c.Name)
			c.Service = supervisor.ServiceFunc(func(context.Context) error { <-release; return nil })
		}
		tree.Children = append(tree.Children, c)
	}
	return tree, stubborn
}

// stuckIn are the names in the report that err holds.
func stuckIn(t *testing.T, err error) []string {
	t.Helper()
	var stop *supervisor.StopError
	require.ErrorAs(t, err, &stop)
	var names []string
	for _, s := range stop.Stuck {
		names = append(names, s.Path)
		assert.Contains(t, s.Stack, "grow_test.go", "the stack of %s", s.Path)
	}
	return names
}

func TestTheShutdownBudgetHoldsAndTheReportNamesWhoeverWouldNotGo(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		release := make(chan struct{})
		tree, stubborn := twoHundred(release)
		g := grow(t, sup, tree)
		synctest.Wait()
		start := time.Now()
		err := g.Stop(2 * time.Second)
		assert.Equal(t, 2*time.Second, time.Since(start))
		assert.ElementsMatch(t, stubborn, stuckIn(t, err))
		assert.Len(t, sup.Leftovers(), len(stubborn))
		close(release)
		synctest.Wait()
		assert.Empty(t, sup.Leftovers())
	})
}

func TestTheStackIsFoundWhateverTheNameHolds(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		tree := supervisor.Tree{Name: `"top" \`}
		for _, name := range []string{`a "quoted" one`, `back\slash`, "größer", "{}:,  ", "plain"} {
			tree.Children = append(tree.Children, supervisor.Child{Name: name, Service: stubbornFor(time.Minute)})
		}
		g := grow(t, sup, tree)
		synctest.Wait()
		assert.Len(t, stuckIn(t, g.Stop(time.Second)), 5)
		text := fmt.Sprintf("%+v", g.Wait())
		assert.Equal(t, 5, strings.Count(text, "grow_test.go"), "Wait's error has them, too:\n%s", text)
	})
}

func TestTheShutdownBudgetHoldsByTheClock(t *testing.T) {
	sup, err := supervisor.Start()
	require.NoError(t, err)
	defer sup.Close()
	release := make(chan struct{})
	tree, stubborn := twoHundred(release)
	g := grow(t, sup, tree)

	start := time.Now()
	plain := make(chan time.Duration, 1)
	timer := time.AfterFunc(2*time.Second, func() { plain <- time.Since(start) - 2*time.Second })
	defer timer.Stop()
	err = g.Stop(2 * time.Second)
	late := time.Since(start) - 2*time.Second
	assert.Less(t, late-<-plain, 50*time.Millisecond, "beside a plain timer's own lateness")
	assert.ElementsMatch(t, stubborn, stuckIn(t, err))
	close(release)
	require.Eventually(t, func() bool { return len(sup.Leftovers()) == 0 }, 5*time.Second, time.Millisecond)
}

func TestALeafIsGrantedWhatIsLeftOfTheWhole(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		granted := make(chan supervisor.Receipt, 1)
		leaf := supervisor.ServiceFunc(func(ctx context.Context) error {
			var rec supervisor.Receipt
			_, err := supervisor.Do(ctx, sup, obedient(time.Second), supervisor.WithReceipt(&rec))
			granted <- rec
			return errors.Join(err, supervisor.ErrDoNotRestart)
		})
		first := supervisor.ServiceFunc(func(ctx context.Context) error {
			time.Sleep(14 * time.Second)
			if err := supervisor.GrownFrom(ctx).Start(supervisor.Child{Name: "region/site/leaf", Service: leaf}); err != nil {
				return err
			}
			return supervisor.ErrDoNotRestart
		})
		idle := func(name string) supervisor.Child { return supervisor.Child{Name: name, Service: faithful()} }
		// Four levels; with the leaf, ten actors.
		g := grow(t, sup, supervisor.Tree{Name: "top", Limit: 30 * time.Second, Children: []supervisor.Child{
			{Name: "first", Service: first}, idle("second"),
			{Tree: &supervisor.Tree{Name: "region", Children: []supervisor.Child{
				idle("third"), idle("fourth"),
				{Tree: &supervisor.Tree{Name: "site", Limit: time.Minute, Children: []supervisor.Child{idle("fifth"), idle("sixth")}}},
			}}},
		}})
		rec := <-granted
		assert.Equal(t, 16*time.Second, rec.Budget.Limit)
		start := time.Now()
		err := g.Wait()
		assert.Equal(t, 15*time.Second, time.Since(start), "the whole ends at its deadline")
		var over *supervisor.LimitError
		require.ErrorAs(t, err, &over)
		assert.Equal(t, "top", over.Path)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
	}, supervisor.WithPolicy(timeoutpolicy.Remaining()))
}

func TestALimitThatIsOverIsTheOneThatHeld(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		causes := make(chan error, 2)
		tells := supervisor.ServiceFunc(func(ctx context.Context) error {
			<-ctx.Done()
			causes <- context.Cause(ctx)
			return nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		g, err := sup.Grow(ctx, supervisor.Tree{Name: "top", Children: []supervisor.Child{
			{Name: "none", Service: tells},
			{Name: "longer", Service: tells, Limit: time.Hour},
		}})
		require.NoError(t, err)
		assert.ErrorContains(t, g.Wait(), "top: timeout exceeded: its limit of 20s is over")
		for range 2 {
			assert.ErrorContains(t, <-causes, "its limit of 20s is over")
		}
	})
}

func TestAnExpirySpendsNoRestart(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		var runs, own atomic.Int64
		g := grow(t, sup, supervisor.Tree{Intensity: supervisor.NoRestarts, Backoff: supervisor.Backoff{Jitter: -1}, Children: []supervisor.Child{
			{Name: "fetcher", Limit: 10 * time.Second, Service: supervisor.ServiceFunc(func(ctx context.Context) error {
				runs.Add(1)
				<-ctx.Done()
				var over *supervisor.LimitError
				if errors.As(context.Cause(ctx), &over) {
					assert.Equal(t, "tree/fetcher", over.Path)
					assert.ErrorIs(t, ctx.Err(), context.DeadlineExceeded)
					return nil
				}
				assert.ErrorIs(t, context.Cause(ctx), supervisor.ErrStopping)
				assert.ErrorIs(t, ctx.Err(), context.Canceled)
				return nil
			})},
			{Name: "own", Service: supervisor.ServiceFunc(func(ctx context.Context) error {
				own.Add(1)
				_, err := supervisor.Do(ctx, sup, obedient(time.Hour), supervisor.Within(time.Second))
				return err // a slow site is not a crash
			})},
		}})
		time.Sleep(45 * time.Second)
		assert.Equal(t, int64(5), runs.Load(), "every 10 s, with a little more to wait each time")
		v := g.View()
		assert.Equal(t, []int{0, 4}, []int{v.Children[0].Restarts, v.Children[0].Expiries})
		assert.Equal(t, "expired", v.Children[1].Reason)
		assert.Greater(t, own.Load(), int64(5))
		require.NoError(t, g.Stop(0))
		require.NoError(t, g.Wait())
	})
}

func TestASlowStopBlocksNobody(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		g := grow(t, sup, supervisor.Tree{Intensity: 100, Children: []supervisor.Child{
			{Name: "slow", Service: stubbornFor(20 * time.Second), Shutdown: 10 * time.Second},
			{Name: "crashes", Service: supervisor.ServiceFunc(func(context.Context) error { time.Sleep(time.Second); return errWork })},
		}})
		start := time.Now()
		stopped := make(chan error)
		go func() { stopped <- g.StopChild("slow") }()
		synctest.Wait()
		require.NoError(t, g.Start(supervisor.Child{Name: "other", Service: faithful()}))
		require.NoError(t, g.Restart("other"))
		require.NoError(t, g.Remove("other"))
		assert.Zero(t, time.Since(start))
		time.Sleep(1500 * time.Millisecond)
		assert.Equal(t, 1, g.View().Children[1].Restarts)
		assert.Equal(t, []string{"tree/slow"}, stuckIn(t, <-stopped))
		assert.Equal(t, 10*time.Second, time.Since(start).Truncate(time.Second))
		assert.ErrorIs(t, g.Start(supervisor.Child{Name: "slow", Service: faithful()}), supervisor.ErrNameTaken)
		_ = g.Stop(0)
	})
}

func TestThousandsOfDynamicChildren(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		const n = 5000
		g := grow(t, sup, supervisor.Tree{Name: "top", Children: []supervisor.Child{{Tree: &supervisor.Tree{Name: "hosts"}}}})
		for i := range n {
			require.NoError(t, g.Start(supervisor.Child{Name: fmt.Sprint("hosts/", i), Service: faithful(), Restart: supervisor.Temporary}))
		}
		for i := range n / 2 {
			require.NoError(t, g.StopChild(fmt.Sprint("hosts/", 2*i)))
		}
		assert.Len(t, g.View().Children[0].Children, n/2, "temporary ones are forgotten")
		require.NoError(t, g.Stop(0))
		assert.Empty(t, sup.Leftovers())
	})
}

// plainActor is an actor of a user's.
type plainActor struct{ handle func(actor.Context) }

func (a *plainActor) Receive(c actor.Context) { a.handle(c) }

func plainProps(handle func(actor.Context)) *actor.Props {
	return actor.PropsFromProducer(func() actor.Actor { return &plainActor{handle} })
}

func TestPlainActorsAreSupervisedByOurRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		system := actors.NewSystem(nil)
		sup, err := supervisor.Start(supervisor.Under(system.Root))
		require.NoError(t, err)
		var started, stopped atomic.Int64
		var calm atomic.Bool
		handle := func(c actor.Context) {
			switch msg := c.Message().(type) {
			case *actor.Started:
				started.Add(1)
			case *actor.Stopping:
				if !calm.Load() {
					panic("while stopping")
				}
			case *actor.Stopped:
				stopped.Add(1)
				if !calm.Load() {
					panic("stopped")
				}
			case error:
				panic(msg)
			case time.Duration:
				time.Sleep(msg)
			case string:
				calm.Store(true)
				c.Stop(c.Self())
			}
		}
		g := grow(t, sup, supervisor.Tree{Intensity: 5, Backoff: supervisor.Backoff{First: timeoutpolicy.None}, Children: []supervisor.Child{
			{Name: "a", Props: plainProps(handle), Restart: supervisor.Transient},
		}})
		send := func(msg any) {
			pid, err := g.PID(t.Context(), "a")
			require.NoError(t, err)
			system.Root.Send(pid, msg)
			synctest.Wait()
		}
		send(errWork)
		v := g.View().Children[0]
		assert.Equal(t, []any{"running", 1, "panic"}, []any{v.State, v.Restarts, v.Reason})
		assert.Contains(t, v.Error, errWork.Error())
		require.NoError(t, g.Restart("a"))
		synctest.Wait()
		assert.Equal(t, int64(3), started.Load())
		send("stop yourself")
		v = g.View().Children[0]
		assert.Equal(t, "stopped", v.State, "a transient actor that stopped itself is not restarted")
		calm.Store(false)
		require.NoError(t, g.Restart("a"))
		synctest.Wait()

		send(time.Minute) // it blocks in its handler
		start := time.Now()
		assert.Equal(t, []string{"tree/a"}, stuckIn(t, g.Stop(2*time.Second)))
		assert.Equal(t, 2*time.Second, time.Since(start))
		assert.Len(t, sup.Leftovers(), 1)
		time.Sleep(time.Minute)
		assert.Empty(t, sup.Leftovers())
		assert.Equal(t, started.Load(), stopped.Load())
		require.NoError(t, sup.Close())
		time.Sleep(time.Second)
	})
}

func TestAPlainActorThatEndsItsGoroutineIsStartedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		system := actors.NewSystem(nil)
		sup, err := supervisor.Start(supervisor.Under(system.Root))
		require.NoError(t, err)
		var produced atomic.Int64
		var below *actor.PID
		handle := func(c actor.Context) {
			if c.Message() == "exit" {
				below = c.Spawn(actor.PropsFromFunc(func(actor.Context) {}))
				runtime.Goexit()
			}
		}
		g := grow(t, sup, supervisor.Tree{Intensity: 5, Backoff: supervisor.Backoff{First: timeoutpolicy.None}, Children: []supervisor.Child{
			{Name: "a", Props: actor.PropsFromProducer(func() actor.Actor {
				if produced.Add(1) == 2 {
					runtime.Goexit()
				}
				return &plainActor{handle}
			})},
		}})
		pid, err := g.PID(t.Context(), "a")
		require.NoError(t, err)
		system.Root.Send(pid, "exit")
		synctest.Wait()
		v := g.View().Children[0]
		assert.Equal(t, []any{"running", 2, "panic"}, []any{v.State, v.Restarts, v.Reason}, "by its handler, and by its producer")
		assert.Contains(t, v.Error, "Goexit")
		for _, gone := range []*actor.PID{pid, below} {
			_, there := system.ProcessRegistry.GetLocal(gone.Id)
			assert.False(t, there, "%s is still there", gone)
		}
		start := time.Now()
		require.NoError(t, g.Stop(0))
		assert.Zero(t, time.Since(start))
		require.NoError(t, sup.Close())
		time.Sleep(time.Second)
	})
}

// slowStop is a process whose Stop waits, as a router's does.
type slowStop struct{ actor.Process }

func (s slowStop) Stop(pid *actor.PID) {
	time.Sleep(10 * time.Second)
	s.Process.Stop(pid)
}

func TestPropsThatSpawnInTheirOwnWayDoSo(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		var spawned atomic.Int64
		props := plainProps(func(actor.Context) {}).Configure(actor.WithSpawnFunc(
			func(system *actor.ActorSystem, id string, props *actor.Props, parent actor.SpawnerContext) (*actor.PID, error) {
				spawned.Add(1)
				inner, err := actor.DefaultSpawner(system, id+"/inner", props, parent)
				if err != nil {
					return nil, err
				}
				process, _ := system.ProcessRegistry.Get(inner)
				pid, _ := system.ProcessRegistry.Add(slowStop{process}, id)
				return pid, nil
			}))
		g := grow(t, sup, supervisor.Tree{Children: []supervisor.Child{{Name: "pool", Props: props}, {Name: "well", Service: faithful()}}})
		synctest.Wait()
		assert.Equal(t, int64(1), spawned.Load())
		start := time.Now()
		stopped := make(chan error)
		go func() { stopped <- g.StopChild("pool") }()
		synctest.Wait()
		require.NoError(t, g.Restart("well"))
		assert.Zero(t, time.Since(start), "a Stop that waits blocks nobody")
		var stop *supervisor.StopError
		require.ErrorAs(t, <-stopped, &stop)
		assert.Equal(t, supervisor.DefaultShutdown, time.Since(start))
		time.Sleep(time.Minute)
		assert.Empty(t, sup.Leftovers())
		require.NoError(t, g.Stop(0))
	})
}

func TestAProducerThatPanicsOrHangsIsNoMatter(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		g := grow(t, sup, supervisor.Tree{Name: "top", Children: []supervisor.Child{
			{Name: "hangs", Props: actor.PropsFromProducer(func() actor.Actor { time.Sleep(time.Minute); return &plainActor{func(actor.Context) {}} })},
			{Name: "panics", Restart: supervisor.Temporary, Props: actor.PropsFromProducer(func() actor.Actor { panic(errWork) })},
			{Name: "well", Service: faithful()},
		}})
		synctest.Wait()
		assert.Len(t, g.View().Children, 2)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := g.PID(ctx, "hangs")
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, []string{"top/hangs"}, stuckIn(t, g.Stop(time.Second)))
		time.Sleep(time.Minute)
		assert.Empty(t, sup.Leftovers())
	})
}

// callKey is a context's key.
type callKey struct{}

func TestATreeEndsWithTheContextItWasGrownWith(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		ctx, cancel := context.WithCancelCause(context.WithValue(t.Context(), callKey{}, "value"))
		g, err := sup.Grow(ctx, supervisor.Tree{Children: []supervisor.Child{{Name: "a", Service: supervisor.ServiceFunc(func(ctx context.Context) error {
			assert.Equal(t, "value", ctx.Value(callKey{}))
			<-ctx.Done()
			assert.ErrorIs(t, context.Cause(ctx), errWork)
			return nil
		})}}})
		require.NoError(t, err)
		cancel(errWork)
		assert.ErrorIs(t, g.Wait(), errWork)
		_, err = sup.Grow(ctx, supervisor.Tree{})
		assert.ErrorIs(t, err, errWork)
		assert.ErrorIs(t, g.Start(supervisor.Child{Name: "b", Service: faithful()}), supervisor.ErrTreeStopped)
	})
}

func TestClosingTheSupervisorStopsItsTreesBeforeItRefusesRequests(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		last := errWork
		g := grow(t, sup, supervisor.Tree{Children: []supervisor.Child{
			{Name: "flushes", Service: supervisor.ServiceFunc(func(ctx context.Context) error {
				<-ctx.Done()
				_, last = supervisor.Do(context.WithoutCancel(ctx), sup, obedient(time.Second), supervisor.Within(time.Minute))
				return nil
			})},
			{Name: "hangs", Service: stubbornFor(time.Minute), Shutdown: 2 * time.Second},
		}})
		synctest.Wait()
		var left *resources.LeftoverError
		require.ErrorAs(t, sup.Close(), &left)
		assert.Len(t, left.Left, 1)
		assert.NoError(t, last)
		assert.ErrorIs(t, g.Wait(), supervisor.ErrClosed)
		_, err := sup.Grow(t.Context(), supervisor.Tree{})
		assert.ErrorIs(t, err, supervisor.ErrClosed)
	})
}

func TestStoppingTheRootFromOutsideStopsItsTrees(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		system := actors.NewSystem(nil)
		sup, err := supervisor.Start(supervisor.Under(system.Root))
		require.NoError(t, err)
		sub := supervisor.Tree{Name: "sub", Children: []supervisor.Child{{Name: "b", Service: faithful()}, {Name: "c", Props: plainProps(func(actor.Context) {})}}}
		g := grow(t, sup, supervisor.Tree{Children: []supervisor.Child{{Name: "a", Service: faithful()}, {Tree: &sub}}})
		synctest.Wait()
		system.Root.Stop(sup.PID())
		assert.ErrorIs(t, g.Wait(), supervisor.ErrClosed)
		require.NoError(t, sup.Close())
		time.Sleep(time.Second)
	})
}

func TestASessionIsAChildLikeAnyOther(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		closed := 0
		held := supervisor.Hold(sup, &line{open: time.Second, close: func() error { closed++; return nil }})
		g := grow(t, sup, supervisor.Tree{Children: []supervisor.Child{{Service: held}}})
		start := time.Now()
		face, err := held.Face(t.Context())
		require.NoError(t, err)
		assert.Equal(t, time.Second, time.Since(start))
		n, err := face.Wait(t.Context(), time.Second)
		require.NoError(t, err)
		assert.Equal(t, 42, n)
		require.NoError(t, g.Restart("line"))
		_, err = held.Face(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 1, closed)
		require.NoError(t, g.Stop(0))
		assert.Equal(t, 2, closed)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = held.Face(ctx)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
	}, supervisor.WithPolicy(timeoutpolicy.Fixed(10*time.Second)))
}

func TestATreePrintsItself(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		g := grow(t, sup, supervisor.Tree{
			Name: "crawler", Strategy: supervisor.RestForOne, Limit: time.Minute, Backoff: supervisor.Backoff{Jitter: -1},
			Children: []supervisor.Child{
				{Name: "dns", Service: faithful()},
				{Tree: &supervisor.Tree{Name: "hosts", Backoff: supervisor.Backoff{First: time.Minute}, Children: []supervisor.Child{
					{Name: "slow", Service: faithful(), Limit: 10 * time.Second},
					{Name: "bad", Service: supervisor.ServiceFunc(func(context.Context) error { return errWork }), Restart: supervisor.Transient},
				}}},
				{Name: "store", Props: plainProps(func(actor.Context) {})},
			},
		})
		time.Sleep(4 * time.Second)
		assert.Equal(t, strings.TrimPrefix(`
crawler  (rest-for-one)  running  rest 56s
├─ dns  running  rest 56s
├─ hosts  (one-for-one)  running  rest 56s
│  ├─ slow  running  rest 6s
│  └─ bad  waiting  restarts 1  last error: work
└─ store  running  rest 56s
`, "\n"), strings.ReplaceAll(g.String(), errWork.Error(), "work"))
		text, err := json.Marshal(g)
		require.NoError(t, err)
		var v supervisor.Node
		require.NoError(t, json.Unmarshal(text, &v))
		assert.Equal(t, g.View(), v)
		require.NoError(t, g.Stop(0))
		assert.Contains(t, g.String(), "crawler  (rest-for-one)  stopped  last shutdown\n")
	})
}

func TestATreeThatMakesNoSenseStartsNothing(t *testing.T) {
	s := supervisor.ServiceFunc(func(context.Context) error { t.Error("it was started"); return nil })
	loop := supervisor.Tree{Name: "loop"}
	loop.Children = []supervisor.Child{{Name: "again", Tree: &loop}}
	children := func(c ...supervisor.Child) supervisor.Tree { return supervisor.Tree{Children: c} }
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		for name, tree := range map[string]supervisor.Tree{
			"nothing to run":          children(supervisor.Child{Name: "a"}),
			"two things":              children(supervisor.Child{Name: "a", Service: s, Tree: &supervisor.Tree{}}),
			"no name":                 children(supervisor.Child{Service: s}),
			"a path for a name":       children(supervisor.Child{Name: "a/b", Service: s}),
			"two of a name":           children(supervisor.Child{Name: "a", Service: s}, supervisor.Child{Name: "a", Service: s}),
			"significant for nothing": children(supervisor.Child{Name: "a", Service: s, Restart: supervisor.Transient, Significant: true}),
			"negative limit":          children(supervisor.Child{Name: "a", Service: s, Limit: -1}),
			"endless stop":            children(supervisor.Child{Name: "a", Service: s, Shutdown: timeoutpolicy.Unlimited}),
			"permanent, significant":  {AutoShutdown: supervisor.AnySignificant, Children: []supervisor.Child{{Name: "a", Service: s, Significant: true}}},
			"jitter":                  {Backoff: supervisor.Backoff{Jitter: 2}},
			"period":                  {Period: -1},
			"intensity":               {Intensity: -2},
			"strategy":                {Strategy: 9},
			"a loop":                  loop,
		} {
			_, err := sup.Grow(t.Context(), tree)
			var invalid *supervisor.Invalid
			assert.ErrorAs(t, err, &invalid, name)
		}
	})
}

func TestManyHandsOnOneTree(t *testing.T) {
	sup, err := supervisor.Start()
	require.NoError(t, err)
	g := grow(t, sup, supervisor.Tree{Name: "top", Strategy: supervisor.OneForAll, Intensity: 1 << 20, Backoff: supervisor.Backoff{First: timeoutpolicy.None}, Children: []supervisor.Child{
		{Tree: &supervisor.Tree{Name: "sub", Intensity: 1 << 20, Backoff: supervisor.Backoff{First: timeoutpolicy.None}}},
	}})
	var started atomic.Int64
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 50 {
				name := fmt.Sprintf("sub/%d-%d", i, j)
				if g.Start(supervisor.Child{Name: name, Service: faithful()}) == nil {
					started.Add(1)
				}
				_ = g.Start(supervisor.Child{Name: name + "x", Service: supervisor.ServiceFunc(func(context.Context) error { return errWork }), Restart: supervisor.Temporary})
				switch j % 5 {
				case 0:
					_ = g.Restart("sub")
				case 1:
					_ = g.Remove(name)
				case 2:
					_ = g.Restart(name)
				case 3:
					_ = g.String()
				}
			}
		})
	}
	all.Wait()
	assert.Positive(t, started.Load(), "beside those that came while sub was restarted")
	assert.NoError(t, g.Restart("sub"), "nothing has ended it")
	require.NoError(t, g.Stop(0))
	require.NoError(t, sup.Close())
}
