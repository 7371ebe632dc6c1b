// Daemon is a web server that embeds a supervisor. Each page asks two backends at once;
// one of them hangs, and costs the page its limit and a blank, not its worker. SIGTERM
// ends the daemon in order: pages under way are answered, then everything is closed.
//
//	go run ./examples/daemon
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"curfew.example/resources"
	"curfew.example/supervisor"
	"curfew.example/timeoutpolicy"
)

// daemon answers pages from its backends.
type daemon struct {
	sup      *supervisor.Supervisor
	backends []string
}

// ServeHTTP asks all backends at once and writes what came. A browser that goes away
// cancels what its page has under way: the request's context does that.
func (d *daemon) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	parts := make([]string, len(d.backends))
	var all sync.WaitGroup
	for i, url := range d.backends {
		all.Go(func() { parts[i] = d.part(r.Context(), url) })
	}
	all.Wait()
	for _, part := range parts {
		fmt.Fprintf(w, "[%s]", part)
	}
}

func (d *daemon) part(ctx context.Context, url string) string {
	resp, err := supervisor.Do(ctx, d.sup, resources.Fetch{URL: url})
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	} else if err != nil {
		return "out of order"
	}
	return string(resp.Body)
}

// serve runs until ctx ends, and then until the pages under way are answered.
func (d *daemon) serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{Handler: d, ReadHeaderTimeout: time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }() // ends with Shutdown; waited for below
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	// No page outlives its fetches, which have limits; the bound is for slow readers.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	err := server.Shutdown(ctx)
	fmt.Println("daemon: every page has been answered")
	return err
}

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	sup, err := supervisor.Start(supervisor.WithPolicy(timeoutpolicy.Fixed(300 * time.Millisecond)))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sup.Close()) }()

	backends := openBackends()
	defer backends.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	visited := make(chan error, 1)
	go func() { visited <- visit("http://"+listener.Addr().String(), backends.arrived) }() // waited for below
	d := &daemon{sup: sup, backends: []string{backends.good.URL, backends.hung.URL}}
	return errors.Join(d.serve(ctx, listener), <-visited)
}
