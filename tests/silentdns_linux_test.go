package tests

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"curfew.example/resources"
	"curfew.example/supervisor"
	"curfew.example/tests/peers"
	"curfew.example/timeoutpolicy"
)

// TestSilentNameServerCostsNoThread runs the look-ups in a child process that has a
// network of its own, in which the only name server takes every question and answers
// none. The C library's resolver is asked for, where there is one: its look-ups would
// each hold a thread for ten seconds.
func TestSilentNameServerCostsNoThread(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^$")
	cmd.Env = append(os.Environ(), childEnv+"=silent dns", "GODEBUG=netdns=cgo")
	peers.InNamespaces(cmd)
	out, err := cmd.CombinedOutput()
	if _, ran := errors.AsType[*exec.ExitError](err); err != nil && !ran || strings.Contains(string(out), noNameServer) {
		t.Skipf("SKIPPED: namespaces are not to be had here: %v %s", err, out)
	}
	assert.NoError(t, err, "%s", out)
	t.Logf("%s", out)
}

// noNameServer begins what a child says that could not set up its name server.
const noNameServer = "no silent name server: "

// silentDNSLimit is the limit of a request whose host's name is never found, and
// silentDNSAtOnce how many there are at once.
const (
	silentDNSLimit  = 300 * time.Millisecond
	silentDNSAtOnce = 40
)

// silentDNSChild makes its requests by each kind, and checks what they cost.
func silentDNSChild() error {
	closeServer, err := peers.SilentDNS()
	if err != nil {
		return fmt.Errorf("%s%w", noNameServer, err)
	}
	defer closeServer()
	sup, err := supervisor.Start(supervisor.WithPolicy(timeoutpolicy.Fixed(silentDNSLimit)))
	if err != nil {
		return err
	}
	defer sup.Close()
	for name, run := range map[string]client{
		"fetch":          fetching("http://ADDR"),
		"fetch, TLS":     fetching("https://ADDR"),
		"fetch, proxied": fetching("https://target.invalid", fetchThrough("http")),
		"xmlrpc":         calling("http://ADDR"),
		"socket, tcp":    talking("tcp"),
		"socket, tls":    talking("tls"),
		"socket, udp":    talking("udp"),
		"dialer":         dialling,
	} {
		if err := lookUpMany(sup, run); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// dialling is a client of the dialer.
func dialling(_ context.Context, sup *supervisor.Supervisor, addr string, _ *resources.TLS) (*prepared, error) {
	do := func(ctx context.Context, _ ...supervisor.Option) error {
		conn, err := sup.Dialer().DialContext(ctx, "tcp", addr)
		if err == nil {
			_ = conn.Close()
		}
		return err
	}
	return &prepared{do, func() error { return nil }}, nil
}

// lookUpMany makes requests for names that are never found, all at once.
func lookUpMany(sup *supervisor.Supervisor, run client) error {
	threads, descriptors, goroutines := holding()
	requests := make([]*prepared, silentDNSAtOnce)
	for i := range requests {
		var err error
		if requests[i], err = run(context.Background(), sup, fmt.Sprintf("host%d.nowhere.test:80", i), nil); err != nil {
			return err
		}
	}
	w := watch(silentDNSLimit)
	errs := make([]error, silentDNSAtOnce)
	late := make([]time.Duration, silentDNSAtOnce)
	var asking sync.WaitGroup
	for i, r := range requests {
		asking.Go(func() { // waited for below
			errs[i] = r.do(context.Background(), supervisor.Within(time.Until(w.due)))
			late[i] = time.Since(w.due)
		})
	}
	asking.Wait()
	allowed := w.allowed()
	for _, r := range requests {
		if err := r.end(); err != nil {
			return err
		}
	}
	for i, err := range errs {
		if _, ok := errors.AsType[*supervisor.Expired](err); !ok {
			return fmt.Errorf("it did not expire: %w", err)
		}
		if late[i] > allowed {
			return fmt.Errorf("the answer was %v late, %v is allowed", late[i], allowed)
		}
	}
	if left := sup.Leftovers(); len(left) > 0 {
		return fmt.Errorf("left: %v", left)
	}
	return backTo(threads, descriptors, goroutines)
}

// holding counts what a process has that a look-up could leave behind.
func holding() (threads, descriptors, goroutines int) {
	tasks, _ := os.ReadDir("/proc/self/task")
	fds, _ := os.ReadDir("/proc/self/fd")
	return len(tasks), len(fds), runtime.NumGoroutine()
}

// A thread of the runtime's, which keeps those it has, is no thread of a look-up's.
const spareThreads = 8

// backTo waits until no more is held than before, for a little while.
func backTo(threads, descriptors, goroutines int) error {
	for end := time.Now().Add(time.Second); ; time.Sleep(5 * time.Millisecond) {
		th, fd, gr := holding()
		if th <= threads+spareThreads && fd <= descriptors && gr <= goroutines {
			fmt.Printf("threads %d to %d, descriptors %d to %d, goroutines %d to %d\n", threads, th, descriptors, fd, goroutines, gr)
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("threads %d to %d, descriptors %d to %d, goroutines %d to %d", threads, th, descriptors, fd, goroutines, gr)
		}
	}
}
