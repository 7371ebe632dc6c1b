// Fetch asks two servers for a page: one that takes the request and never answers, and
// one that does. The first costs its limit and not a moment more, and by the time the
// caller hears of it the connection is closed: the server has seen its end.
//
//	go run ./examples/fetch
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"curfew.example/resources"
	"curfew.example/supervisor"
	"curfew.example/timeoutpolicy"
)

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) (err error) {
	// The policy is asked for the limit of each request.
	sup, err := supervisor.Start(supervisor.WithPolicy(timeoutpolicy.Fixed(500 * time.Millisecond)))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sup.Close()) }()

	ended := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done() // the client's end of the connection has gone
		close(ended)
	}))
	defer silent.Close()
	good := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "good morning")
	}))
	defer good.Close()

	// One deadline holds for all of it: look-up, dial, TLS, headers, redirects, body.
	_, err = supervisor.Do(ctx, sup, resources.Fetch{URL: silent.URL})
	expired, ok := errors.AsType[*supervisor.Expired](err)
	if !ok {
		return fmt.Errorf("the silent server: want an expiry, got %w", err)
	}
	fmt.Println("silent server:", expired)
	for _, piece := range expired.Receipt.Cleanup.Released {
		fmt.Printf("  released: %s, by %s\n", piece.What, piece.How)
	}
	<-ended
	fmt.Println("  the server saw the connection end")

	page, err := supervisor.Do(ctx, sup, resources.Fetch{URL: good.URL})
	if err != nil {
		return err
	}
	fmt.Printf("good server: %d, %q\n", page.Status, page.Body)
	return nil
}
