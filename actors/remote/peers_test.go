package remote_test

import (
	"context"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/actors"
	"curfew.example/actors/remote"
	"curfew.example/resources"
	"curfew.example/supervisor"
	"curfew.example/tests/alone"
)

func TestAbsentPeerIsNoticedAtOnce(t *testing.T) {
	if alone.Run(t) {
		return
	}
	n := startNode(t, remote.Config{TLS: authority(t)()})
	p, err := n.Peer(freeAddress(t))
	require.NoError(t, err)
	for range 3 { // no two seconds' sleep is in between
		start := time.Now()
		_, err = remote.Do(t.Context(), p, resources.Fetch{URL: "http://127.0.0.1/"}, within(5*time.Second))
		require.ErrorIs(t, err, remote.ErrPeerLost)
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		assert.Less(t, time.Since(start), time.Second)
	}
}

func TestKilledPeerIsNoticedAtOnceAndItsSuccessorIsUsed(t *testing.T) {
	if alone.Run(t) {
		return
	}
	issue := authority(t)
	address := freeAddress(t)
	conf := childConf{Listen: address, TLS: issue(), Allow: loopback()}
	c := startChild(t, conf)
	n := startNode(t, remote.Config{TLS: issue()})
	p, err := n.Peer(address)
	require.NoError(t, err)
	url, hung, ended := site(t)

	for range 3 {
		done := make(chan error, 1)
		go func() { // ends when the peer does
			_, err := remote.Do(t.Context(), p, resources.Fetch{URL: url + "/hang"}, within(20*time.Second))
			done <- err
		}()
		<-hung
		c.kill()
		start := time.Now()
		require.ErrorIs(t, <-done, remote.ErrPeerLost)
		assert.Less(t, time.Since(start), time.Second)
		<-ended

		start = time.Now()
		_, err = remote.Do(t.Context(), p, resources.Fetch{URL: url + "/page"}, within(5*time.Second))
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		assert.Less(t, time.Since(start), time.Second)

		c = startChild(t, conf)
		_, err = remote.Do(t.Context(), p, resources.Fetch{URL: url + "/page"}, within(5*time.Second))
		require.NoError(t, err)
	}
}

func TestKilledAskerHasItsRequestsStopped(t *testing.T) {
	if alone.Run(t) {
		return
	}
	issue := authority(t)
	server := startChild(t, childConf{TLS: issue(), Allow: loopback()})
	url, hung, ended := site(t)
	before := server.look()
	for range 3 {
		asker := startChild(t, childConf{TLS: issue(), Ask: server.state.Address, URL: url + "/hang"})
		<-hung
		asker.kill()
		start := time.Now()
		<-ended
		assert.Less(t, time.Since(start), time.Second)
	}
	var after childState
	assert.Eventually(t, func() bool {
		after = server.look()
		return after.Live == 0 && after.Goroutines <= before.Goroutines+8 && after.FDs <= before.FDs+2
	}, 5*time.Second, 20*time.Millisecond, "before %+v", before)
	server.close()
}

func TestASupervisorThatIsReplacedKeepsWhatItHasUnderWay(t *testing.T) {
	if alone.Run(t) {
		return
	}
	issue := authority(t)
	n := startNode(t, remote.Config{TLS: issue()})
	serve := func() *supervisor.Supervisor {
		sup, err := supervisor.Start(supervisor.Under(n.System().Root))
		require.NoError(t, err)
		require.NoError(t, n.Serve(sup.PID(), *loopback()))
		return sup
	}
	url, hung, ended := site(t)
	first := serve()
	asker := startChild(t, childConf{TLS: issue(), Ask: n.Address(), URL: url + "/hang"})
	<-hung
	second := serve()
	start := time.Now()
	asker.kill()
	<-ended
	assert.Less(t, time.Since(start), time.Second, "the asker's death reaches the one that has its request")

	asker = startChild(t, childConf{TLS: issue(), Ask: n.Address(), URL: url + "/hang"})
	<-hung
	require.NoError(t, n.Serve(nil, remote.Allow{}))
	require.NoError(t, first.Close())
	assert.Empty(t, ended, "the other's end is no end of it")
	start = time.Now()
	asker.kill()
	<-ended
	assert.Less(t, time.Since(start), time.Second)
	require.NoError(t, second.Close())
}

func TestSilentAddressIsGivenUpByDeadlineAndGrace(t *testing.T) {
	if alone.Run(t) {
		return
	}
	const limit, grace = 200 * time.Millisecond, 100 * time.Millisecond
	n := startNode(t, remote.Config{TLS: authority(t)(), Grace: grace})
	l := silentListener(t)
	p, err := n.Peer(l)
	require.NoError(t, err)
	plain := lateness(limit + grace)
	start := time.Now()
	_, err = remote.Do(t.Context(), p, resources.Fetch{URL: "http://127.0.0.1/"}, within(limit))
	require.ErrorIs(t, err, remote.ErrNoAnswer)
	took := time.Since(start)
	assert.Less(t, took, limit+grace+<-plain+slack)
	start = time.Now()
	require.NoError(t, n.Close())
	assert.Less(t, time.Since(start), 2*time.Second, "a handshake that hangs does not hold Close")
}

func TestPeerThatIsNotTrustedIsRefused(t *testing.T) {
	if alone.Run(t) {
		return
	}
	c := startChild(t, childConf{TLS: authority(t)(), Allow: loopback()})
	p, err := startNode(t, remote.Config{TLS: authority(t)()}).Peer(c.state.Address)
	require.NoError(t, err)
	start := time.Now()
	_, err = remote.Do(t.Context(), p, resources.Fetch{URL: "http://127.0.0.1/"}, within(20*time.Second))
	require.ErrorIs(t, err, remote.ErrPeerLost)
	assert.Contains(t, err.Error(), "certificate")
	assert.Less(t, time.Since(start), 2*time.Second)
}

func TestAskerThatIsNotTrustedIsRefused(t *testing.T) {
	if alone.Run(t) {
		return
	}
	theirs, mine := authority(t)(), authority(t)()
	c := startChild(t, childConf{TLS: theirs, Allow: loopback()})
	mine.RootCAs = theirs.RootCAs // the peer is trusted, and does not trust
	p, err := startNode(t, remote.Config{TLS: mine}).Peer(c.state.Address)
	require.NoError(t, err)
	start := time.Now()
	_, err = remote.Do(t.Context(), p, resources.Fetch{URL: "http://127.0.0.1/"}, within(20*time.Second))
	require.ErrorIs(t, err, remote.ErrPeerLost)
	assert.Less(t, time.Since(start), 2*time.Second)
}

// questioner is an actor of one's own that asks a peer by message.
type questioner struct {
	peer    *actor.PID
	answers chan *actors.Response
}

// Receive implements actor.Actor.
func (q *questioner) Receive(c actor.Context) {
	switch msg := c.Message().(type) {
	case *actors.Request, *actors.Cancel:
		c.Request(q.peer, msg)
	case *actors.Response:
		q.answers <- msg
	}
}

func TestActorAsksAPeerByTheSameMessages(t *testing.T) {
	if alone.Run(t) {
		return
	}
	p, c := pair(t, loopback())
	url, hung, ended := site(t)
	root := remote.SystemOf(p).Root
	q := &questioner{p.PID(), make(chan *actors.Response, 10)}
	self := root.Spawn(actor.PropsFromProducer(func() actor.Actor { return q }))
	fetch := func(id uint64, path string, limit time.Duration) *actors.Request {
		return &actors.Request{ID: id, Use: resources.Of(resources.Fetch{URL: url + path}), Within: limit}
	}

	root.Send(self, fetch(1, "/page", 5*time.Second))
	resp := <-q.answers
	page, err := actors.As[*resources.Response](resp)
	require.NoError(t, err)
	assert.Equal(t, "GET ", string(page.Body))
	assert.Equal(t, actors.Completed, resp.Receipt.Outcome)

	root.Send(self, fetch(2, "/hang", 20*time.Second))
	<-hung
	root.Send(self, fetch(2, "/page", 5*time.Second))
	resp = <-q.answers
	require.ErrorIs(t, resp.Err, actors.ErrDuplicateID)
	root.Send(self, &actors.Cancel{ID: 2})
	resp = <-q.answers
	require.ErrorIs(t, resp.Err, context.Canceled)
	<-ended

	late := fetch(3, "/hang", 20*time.Second)
	late.Remaining = 200 * time.Millisecond
	root.Send(self, late)
	resp = <-q.answers
	require.ErrorIs(t, resp.Err, context.DeadlineExceeded)
	<-hung
	<-ended

	root.Send(p.PID(), actors.Within(fetch(3, "/hang", 20*time.Second), self, 200*time.Millisecond))
	resp = <-q.answers
	require.ErrorIs(t, resp.Err, context.DeadlineExceeded, "the envelope's budget counts, too")
	<-hung
	<-ended

	root.Send(self, fetch(4, "/hang", 20*time.Second))
	<-hung
	root.Stop(self)
	<-ended // it takes its requests with it
	assert.Eventually(t, func() bool { return c.look().Live == 0 }, 2*time.Second, 10*time.Millisecond)

	root.RequestWithCustomSender(p.PID(), fetch(5, "/hang", 20*time.Second), self)
	_, err = root.RequestFuture(p.PID(), fetch(6, "/page", 5*time.Second), 5*time.Second).Result()
	require.NoError(t, err)
	assert.Empty(t, hung, "what is read after its end is not begun")
}

// hang has a peer wait for what never comes, and returns where its end is told.
func hang(t *testing.T, n *remote.Node, c *child) (done chan error, ended chan struct{}) {
	t.Helper()
	url, hung, ended := site(t)
	p, err := n.Peer(c.state.Address)
	require.NoError(t, err)
	done = make(chan error, 1)
	go func() { // ends when either side closes
		_, err := remote.Do(context.Background(), p, resources.Fetch{URL: url + "/hang"}, within(20*time.Second))
		done <- err
	}()
	<-hung
	return done, ended
}

func TestCloseStopsWhatIsUnderWayAtPeers(t *testing.T) {
	if alone.Run(t) {
		return
	}
	issue := authority(t)
	c := startChild(t, childConf{TLS: issue(), Allow: loopback()})
	before := runtime.NumGoroutine()
	n := startNode(t, remote.Config{TLS: issue()})
	done, ended := hang(t, n, c)
	start := time.Now()
	require.NoError(t, n.Close())
	require.NoError(t, n.Close(), "again")
	assert.Less(t, time.Since(start), 2*time.Second)
	require.ErrorIs(t, <-done, actors.ErrClosed)
	<-ended // over there, too
	_, err := n.Peer(c.state.Address)
	require.ErrorIs(t, err, actors.ErrClosed)
	assert.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+3 }, // those of the HTTP server
		2*time.Second, 10*time.Millisecond, "goroutines: %d before", before)
}

func TestPeerThatClosesAnswersFirst(t *testing.T) {
	if alone.Run(t) {
		return
	}
	issue := authority(t)
	c := startChild(t, childConf{TLS: issue(), Allow: loopback()})
	done, ended := hang(t, startNode(t, remote.Config{TLS: issue()}), c)
	start := time.Now()
	c.close()
	assert.Less(t, time.Since(start), 2*time.Second)
	var cancelled *actors.CancelledError
	require.ErrorAs(t, <-done, &cancelled, "it is answered before the link goes")
	<-ended
}

func TestStartRefusesWhatMakesNoSense(t *testing.T) {
	if alone.Run(t) {
		return
	}
	good := remote.Config{Listen: "127.0.0.1:0", TLS: authority(t)()}
	for name, change := range map[string]func(*remote.Config){
		"no address":         func(c *remote.Config) { c.Listen = "" },
		"no port":            func(c *remote.Config) { c.Listen = "127.0.0.1" },
		"a scheme":           func(c *remote.Config) { c.Listen = "unix:///x:1" },
		"nowhere to be seen": func(c *remote.Config) { c.Listen = "0.0.0.0:0" },
		"no authorities":     func(c *remote.Config) { c.TLS.RootCAs = nil },
		"no certificate":     func(c *remote.Config) { c.TLS.Certificate = nil },
		"no check":           func(c *remote.Config) { c.TLS.InsecureSkipVerify = true },
		"a bad pattern":      func(c *remote.Config) { c.Peers = []string{"["} },
		"small messages":     func(c *remote.Config) { c.MessageMaxBytes = 1 },
	} {
		conf := good
		change(&conf)
		_, err := remote.Start(conf)
		var invalid *resources.Invalid
		require.ErrorAs(t, err, &invalid, name)
	}
	taken := good
	taken.Listen = silentListener(t)
	_, err := remote.Start(taken)
	require.ErrorContains(t, err, "listen")
	n := startNode(t, good)
	require.Error(t, n.Serve(nil, remote.Allow{Fetch: []string{"["}}))
	_, err = n.Peer(n.Address())
	require.Error(t, err)
	_, err = n.Peer("unix:///run/x:1")
	require.Error(t, err)
}
