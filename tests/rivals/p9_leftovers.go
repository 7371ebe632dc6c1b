package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"time"

	"github.com/failsafe-go/failsafe-go/failsafehttp"
	"github.com/failsafe-go/failsafe-go/timeout"
	"github.com/kolo/xmlrpc"

	"curfew.example/resources"
	"curfew.example/supervisor"
	"curfew.example/timeoutpolicy"
)

const (
	expiryLimit   = 100 * time.Millisecond
	failsafeHTTP  = "failsafehttp"
	leftMark      = "CURFEW_RIVALS_TREE=1"
	readersAtOnce = 64
	treesAtOnce   = 8
)

// The figures of P9.
const (
	descriptorsLeft = "descriptors left"
	goroutinesLeft  = "goroutines left"
	processesLeft   = "processes left"
)

// nothingLeft is P9: what is there a second after many expiries that was not there before.
func nothingLeft() benchmark {
	return benchmark{"P9", fmt.Sprintf("expiries after %v: what is left one second later", expiryLimit), func(s *suite) (*trial, error) {
		sup, err := supervisor.Start(supervisor.WithPolicy(timeoutpolicy.Fixed(expiryLimit)))
		if err != nil {
			return nil, err
		}
		count := s.scale(1_000, 50)
		t := &trial{cold: true, roundsMax: 1, close: func() { _ = sup.Close() }}
		add := func(what, who string, width int, make func() (*expiring, error)) {
			name := what + ": " + who
			t.contenders = append(t.contenders, contender{name, func(ctx context.Context) (readings, error) {
				return afterwards(ctx, width, count, make)
			}})
			if who == curfew {
				t.goals = append(t.goals, leftBy(name).atMost(0, 0))
			}
		}
		for _, c := range expiries(s, sup) {
			for _, w := range c.ways {
				add(c.what, w.who, c.width, w.make)
			}
		}
		t.notes = append(t.notes, fmt.Sprintf("%d expiries of each. Curfew's answer comes after its clean-up: its lateness is that of both.", count))
		return t, nil
	}}
}

const countOf = count // within functions that count otherwise

// leftBy is a goal for all that is left by one contender.
func leftBy(name string) goal {
	return goal{what: name + ": left of any kind", unit: countOf, of: func(r round) (sum float64, ok bool) {
		for _, figure := range [...]string{descriptorsLeft, goroutinesLeft, processesLeft} {
			v, has := r[name].get(figure)
			sum, ok = sum+v, has
		}
		return sum, ok
	}}
}

// expiring is a request that will expire, for as often as it is made.
type expiring struct {
	expire func(ctx context.Context) error
	after  func() // ends what has been left once it has been counted; may be nil
}

// expiryCase is one way to hang, and who hangs in it.
type expiryCase struct {
	what  string
	width int // at once
	ways  []expiryWay
}

type expiryWay struct {
	who  string
	make func() (*expiring, error)
}

// afterwards has count requests expire and counts what is left of them.
func afterwards(ctx context.Context, width, count int, make func() (*expiring, error)) (readings, error) {
	e, err := make()
	if err != nil {
		return nil, err
	}
	before := ownedBy(leftMark)
	late := lateness{}
	err = together(ctx, width, count, func(ctx context.Context, _ int) error {
		due := time.Now().Add(expiryLimit)
		err := e.expire(ctx)
		late.add(time.Since(due))
		return err
	})
	time.Sleep(time.Second)
	runtime.GC()
	left := ownedBy(leftMark).minus(before)
	if e.after != nil {
		e.after()
	}
	sweep(leftMark)
	settle(before, leftMark, 10*time.Second)
	all := lengths(late.all)
	return readings{
		{"answer late, p50", percentile(all, 50), nanoseconds},
		{"answer late, p99", percentile(all, 99), nanoseconds},
		{descriptorsLeft, float64(max(0, left.descriptors)), countOf},
		{goroutinesLeft, float64(max(0, left.goroutines)), countOf},
		{processesLeft, float64(max(0, left.children)), countOf},
	}, err
}

// lateness collects from many goroutines.
type lateness struct {
	mu  sync.Mutex
	all []time.Duration
}

func (l *lateness) add(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, d)
}

// expiries is the table of P9.
func expiries(s *suite, sup *supervisor.Supervisor) []expiryCase {
	return []expiryCase{
		{"read", readersAtOnce, []expiryWay{
			{curfew, ours(sup, resources.Socket{Address: s.peer.silent, ReadBytes: 1})},
			{"net with deadlines", func() (*expiring, error) {
				return &expiring{expire: func(ctx context.Context) error { return readWithDeadline(ctx, s.peer.silent) }}, nil
			}},
		}},
		{"dial", readersAtOnce, []expiryWay{
			{curfew, func() (*expiring, error) {
				hole, err := openBlackHole()
				if err != nil {
					return nil, err
				}
				e, err := ours(sup, resources.Fetch{URL: "http://" + hole.address})()
				e.after = hole.close
				return e, err
			}},
			{netHTTP, intoBlackHole(withNetHTTP)},
			{failsafeHTTP, intoBlackHole(withFailsafeHTTP)},
		}},
		{"body", readersAtOnce, []expiryWay{
			{curfew, ours(sup, resources.Fetch{URL: s.peer.url("/drip")})},
			{netHTTP, func() (*expiring, error) { return withNetHTTP(s.peer.url("/drip")), nil }},
			{failsafeHTTP, func() (*expiring, error) { return withFailsafeHTTP(s.peer.url("/drip")), nil }},
		}},
		{"process tree", treesAtOnce, []expiryWay{
			{curfew, ours(sup, resources.Command{Path: "sh", Args: []string{"-c", tree}, Env: []string{leftMark}})},
			{osExec, func() (*expiring, error) { return &expiring{expire: commandContext}, nil }},
		}},
		{"XML-RPC", readersAtOnce, []expiryWay{
			{curfew, func() (*expiring, error) { return xmlrpcSession(sup, s.peer.url("/RPC2")) }},
			{koloClient + " + select", func() (*expiring, error) { return koloSelect(s.peer.url("/RPC2")), nil }},
		}},
	}
}

// ours is a request of Curfew's.
func ours[T any](sup *supervisor.Supervisor, r resources.Resource[T]) func() (*expiring, error) {
	return func() (*expiring, error) {
		return &expiring{expire: func(ctx context.Context) error {
			_, err := supervisor.Do(ctx, sup, r)
			return expired(err, context.DeadlineExceeded)
		}}, nil
	}
}

// readWithDeadline is the good idiom of package net: it leaves nothing either.
func readWithDeadline(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, expiryLimit)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return expired(err, context.DeadlineExceeded, os.ErrDeadlineExceeded)
	}
	defer conn.Close()
	due, _ := ctx.Deadline()
	_ = conn.SetDeadline(due)
	_, err = conn.Read(make([]byte, 1))
	return expired(err, os.ErrDeadlineExceeded)
}

// intoBlackHole makes requests to an address that takes no connections.
func intoBlackHole(with func(url string) *expiring) func() (*expiring, error) {
	return func() (*expiring, error) {
		hole, err := openBlackHole()
		if err != nil {
			return nil, err
		}
		e := with("http://" + hole.address)
		after := e.after
		e.after = func() {
			hole.close()
			after()
		}
		return e, nil
	}
}

// withNetHTTP has a transport that dials as net/http's own default does.
func withNetHTTP(url string) *expiring {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	client := &http.Client{Transport: transport}
	return &expiring{
		expire: func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, expiryLimit)
			defer cancel()
			return expired(readAll(ctx, client, url), context.DeadlineExceeded)
		},
		after: transport.CloseIdleConnections,
	}
}

func withFailsafeHTTP(url string) *expiring {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	client := &http.Client{Transport: failsafehttp.NewRoundTripper(transport, timeout.New[*http.Response](expiryLimit))}
	return &expiring{
		expire: func(ctx context.Context) error {
			// The policy's time is over with the headers: a body that drips needs the context's.
			ctx, cancel := context.WithTimeout(ctx, 2*expiryLimit)
			defer cancel()
			return expired(readAll(ctx, client, url), timeout.ErrExceeded, context.DeadlineExceeded)
		},
		after: transport.CloseIdleConnections,
	}
}

func readAll(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// tree is a shell with two children, one in a session of its own.
const tree = "sleep 30 & setsid sleep 30 & wait"

func commandContext(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, expiryLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", tree)
	cmd.Env = append(os.Environ(), leftMark)
	_ = cmd.Run()
	return expired(ctx.Err(), context.DeadlineExceeded)
}

func xmlrpcSession(sup *supervisor.Supervisor, url string) (*expiring, error) {
	sess, err := supervisor.Open(context.Background(), sup, resources.XMLRPC{URL: url})
	if err != nil {
		return nil, err
	}
	return &expiring{
		expire: func(ctx context.Context) error {
			return expired(sess.Call(ctx, "hang", []any{phrase}, nil), context.DeadlineExceeded)
		},
		after: func() { _ = sess.Close() },
	}, nil
}

// koloSelect makes each call with a client of its own: one that hangs would hold up the
// rest of its client, and closing a client with a call under way does not return.
func koloSelect(url string) *expiring {
	transport := &http.Transport{}
	// What was left behind is let go after it has been counted.
	stop, end := context.WithCancel(context.Background())
	return &expiring{
		expire: func(ctx context.Context) error {
			_, err := bySelect(ctx, expiryLimit, func(context.Context) (string, error) {
				client, err := xmlrpc.NewClient(url, endable{transport, stop})
				if err != nil {
					return "", err
				}
				defer client.Close()
				var back string
				err = client.Call("hang", []any{phrase}, &back)
				return back, err
			})
			return expired(err, context.DeadlineExceeded)
		},
		after: end,
	}
}

// endable is a transport whose exchanges end with a context.
type endable struct {
	http.RoundTripper
	ctx context.Context
}

// RoundTrip implements http.RoundTripper.
func (e endable) RoundTrip(req *http.Request) (*http.Response, error) {
	return e.RoundTripper.RoundTrip(req.WithContext(e.ctx))
}
