package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"strconv"
	"time"

	"github.com/kolo/xmlrpc"

	"curfew.example/resources"
	"curfew.example/supervisor"
	"curfew.example/timeoutpolicy"
)

const (
	koloClient   = "kolo/xmlrpc"
	pythonClient = "Python's xmlrpc.client"
)

// xmlRPC is P6: XML-RPC over loopback, one call after the other, and many of which some are
// slow.
func xmlRPC() benchmark {
	work := fmt.Sprintf("XML-RPC echo over loopback, 1 at a time; 64 at a time with one call in ten of %v", slowCall)
	return benchmark{"P6", work, func(s *suite) (*trial, error) {
		const limit = 10 * time.Second
		url := s.peer.url("/RPC2")
		sup, err := supervisor.Start(supervisor.WithPolicy(timeoutpolicy.Fixed(limit)))
		if err != nil {
			return nil, err
		}
		sess, err := supervisor.Open(context.Background(), sup, resources.XMLRPC{URL: url})
		if err != nil {
			return nil, err
		}
		transport := &http.Transport{MaxIdleConnsPerHost: 64}
		kolo, err := xmlrpc.NewClient(url, transport)
		if err != nil {
			return nil, err
		}
		ours := func(ctx context.Context, method string) error {
			var back string
			return echoed(sess.Call(ctx, method, []any{phrase}, &back), back)
		}
		theirs := func(_ context.Context, method string) error {
			var back string
			return echoed(kolo.Call(method, []any{phrase}, &back), back)
		}
		ops, mixed := s.scale(5_000, 1_000), s.scale(2_000, 320)
		one := func(call func(context.Context, string) error) func(context.Context, int) error {
			return func(ctx context.Context, _ int) error { return call(ctx, "echo") }
		}
		t := &trial{
			contenders: []contender{
				crowd(curfew+", 1", 1, ops, one(ours)),
				crowd(koloClient+", 1", 1, ops, one(theirs)),
				crowd(curfew+", 64", 64, mixed, someSlow(ours)),
				crowd(koloClient+", 64", 64, mixed, someSlow(theirs)),
			},
			goals: []goal{
				ratio(rate, curfew+", 1", koloClient+", 1").noLess(1, 0),
				ratio(rate, curfew+", 64", koloClient+", 64").noLess(5, 0),
			},
			close: func() {
				_ = sess.Close()
				_ = sup.Close()
				_ = kolo.Close()
				transport.CloseIdleConnections()
			},
		}
		python, err := exec.LookPath("python3")
		if err != nil {
			t.notes = append(t.notes, "**python3 is absent: Python's client was not measured.**")
			return t, nil
		}
		t.contenders = append(t.contenders, contender{pythonClient + ", 1", func(ctx context.Context) (readings, error) {
			return pythonEcho(ctx, python, url, ops)
		}})
		return t, nil
	}}
}

const phrase = "the quick brown fox jumps over the lazy dog"

func echoed(err error, back string) error {
	if err == nil && back != phrase {
		err = fmt.Errorf("the echo was %q", back)
	}
	return err
}

// someSlow makes one call in ten a slow one.
func someSlow(call func(context.Context, string) error) func(context.Context, int) error {
	return func(ctx context.Context, i int) error {
		if i%10 == 0 {
			return call(ctx, "slow")
		}
		return call(ctx, "echo")
	}
}

const pythonScript = `
import sys, time, xmlrpc.client
url, n, phrase = sys.argv[1], int(sys.argv[2]), sys.argv[3]
server = xmlrpc.client.ServerProxy(url)
assert server.echo(phrase) == phrase
wall, cpu = time.perf_counter_ns(), time.process_time_ns()
for _ in range(n):
    server.echo(phrase)
print(time.perf_counter_ns() - wall, time.process_time_ns() - cpu)
`

// pythonEcho has Python measure itself: its start is no part of it.
func pythonEcho(ctx context.Context, python, url string, ops int) (readings, error) {
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, python, "-c", pythonScript, url, strconv.Itoa(ops), phrase)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, stderr.Bytes())
	}
	var took, used float64
	if _, err := fmt.Sscan(string(out), &took, &used); err != nil {
		return nil, err
	}
	n := float64(ops)
	return readings{{wall, took / n, nanoseconds}, {cpu, used / n, nanoseconds}, {rate, 1e9 * n / took, perSecond}}, nil
}
