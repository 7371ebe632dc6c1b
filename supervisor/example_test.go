package supervisor_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	"curfew.example/resources"
	"curfew.example/supervisor"
	"curfew.example/timeoutpolicy"
)

// A server that takes the request and never answers costs the limit and not a moment
// more, and nothing of the call is left.
func Example() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hangs" {
			<-r.Context().Done() // until the client's connection has gone
		}
		fmt.Fprint(w, "good morning")
	}))
	defer server.Close()

	sup, err := supervisor.Start(supervisor.WithPolicy(timeoutpolicy.Fixed(10 * time.Second)))
	if err != nil {
		log.Fatal(err)
	}
	defer sup.Close()

	ctx := context.Background()
	page, err := supervisor.Do(ctx, sup, resources.Fetch{URL: server.URL})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d %s\n", page.Status, page.Body)

	_, err = supervisor.Do(ctx, sup, resources.Fetch{URL: server.URL + "/hangs"}, supervisor.Within(100*time.Millisecond))
	if expired, ok := errors.AsType[*supervisor.Expired](err); ok {
		receipt := expired.Receipt
		fmt.Println(receipt.Outcome, "while", receipt.Phase, "after", receipt.Budget.Limit)
		fmt.Println("released:", len(receipt.Cleanup.Released), "left over:", len(receipt.Leftover))
	}
	// Output:
	// 200 good morning
	// expired while running after 100ms
	// released: 1 left over: 0
}

// No context reaches a Read that blocks. The clean-up does: it closes the connection, and
// runs when the time is over, or the call is cancelled or panics, and only then.
func ExampleDo() {
	sup, err := supervisor.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer sup.Close()

	conn, peer := net.Pipe() // whose other end is silent
	defer peer.Close()
	read := func(context.Context) (int, error) {
		n, err := conn.Read(make([]byte, 1))
		fmt.Println("the read ends:", err)
		return n, err
	}
	hangUp := func() error {
		fmt.Println("clean-up: close the connection")
		return conn.Close()
	}

	_, err = supervisor.Do(context.Background(), sup, resources.Func(read).Cleanup(hangUp), supervisor.Within(50*time.Millisecond))
	fmt.Println("timeout:", errors.Is(err, context.DeadlineExceeded))
	// Output:
	// clean-up: close the connection
	// the read ends: io: read/write on closed pipe
	// timeout: true
}

// An answer of 404 is an error that comes with the response.
func ExampleDo_fetch() {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	sup, err := supervisor.Start(supervisor.WithPolicy(timeoutpolicy.Fixed(10 * time.Second)))
	if err != nil {
		log.Fatal(err)
	}
	defer sup.Close()

	page, err := supervisor.Do(context.Background(), sup, resources.Fetch{
		URL:          server.URL + "/no-such-page",
		Header:       http.Header{"Accept-Language": {"de"}},
		BodyMaxBytes: 1 << 20,
	})
	if status, ok := errors.AsType[*resources.StatusError](err); ok {
		fmt.Printf("%d: %s", status.Status, page.Body)
	}
	// Output:
	// 404: 404 page not found
}

// The context's deadline suffices alone, and one that is over starts nothing. A zero limit
// never means that there is none.
func ExampleDo_deadline() {
	sup, err := supervisor.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer sup.Close()
	work := resources.Func(func(ctx context.Context) (string, error) { return "done", nil })

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	fmt.Println(supervisor.Do(ctx, sup, work))

	_, err = supervisor.Do(context.Background(), sup, work)
	fmt.Println(errors.Is(err, supervisor.ErrNoLimit))
	_, err = supervisor.Do(context.Background(), sup, work, supervisor.Within(0))
	fmt.Println(errors.Is(err, supervisor.ErrTooLate))
	// Output:
	// done <nil>
	// true
	// true
}

// A policy for a block of calls: it travels with the context, nobody else sees it, and the
// supervisor's own is in force again where the context is not.
func ExampleDo_override() {
	sup, err := supervisor.Start(supervisor.WithPolicy(timeoutpolicy.Fixed(10 * time.Second)))
	if err != nil {
		log.Fatal(err)
	}
	defer sup.Close()

	limitOf := func(ctx context.Context) time.Duration {
		work := resources.Func(func(context.Context) (struct{}, error) { return struct{}{}, nil })
		var receipt supervisor.Receipt
		if _, err := supervisor.Do(ctx, sup, work, supervisor.WithReceipt(&receipt)); err != nil {
			log.Fatal(err)
		}
		return receipt.Budget.Limit
	}
	ctx := context.Background()
	report := timeoutpolicy.Override(ctx, timeoutpolicy.Fixed(5*time.Minute))
	fmt.Println(limitOf(ctx), limitOf(report), limitOf(ctx))
	// Output:
	// 10s 5m0s 10s
}

// The receipt is there on every outcome: by whose word the time was limited, what was
// held, and how each piece went. A plain function, too, can say what it opens.
func ExampleWithReceipt() {
	sup, err := supervisor.Start(supervisor.WithPolicy(timeoutpolicy.Compose(
		timeoutpolicy.Fixed(30*time.Second),
		timeoutpolicy.Cap(2*time.Second).Class("page"),
	)))
	if err != nil {
		log.Fatal(err)
	}
	defer sup.Close()

	render := resources.Func(func(ctx context.Context) (int, error) {
		file, err := os.CreateTemp("", "page")
		if err != nil {
			return 0, err
		}
		err = resources.HeldFrom(ctx).Keep(&resources.Piece{What: "temporary file", By: "remove", Close: func() error {
			_ = file.Close()
			return os.Remove(file.Name())
		}})
		if err != nil {
			return 0, err
		}
		return file.WriteString("good morning")
	}).Named("render")

	var receipt supervisor.Receipt
	n, err := supervisor.Do(context.Background(), sup, render, supervisor.Class("page"), supervisor.WithReceipt(&receipt))
	fmt.Println(n, err)
	fmt.Println(receipt.Kind, receipt.Target, receipt.Outcome)
	fmt.Println("limit", receipt.Budget.Limit, "by", receipt.Budget.GrantedBy)
	for _, piece := range receipt.Cleanup.Released {
		fmt.Println("released:", piece.What, "by", piece.How)
	}
	// Output:
	// 12 <nil>
	// func render completed
	// limit 2s by cap 2s (class page)
	// released: temporary file by remove
}

// A clean-up may be named, as in a message from elsewhere. A wrong name is an error here,
// before anything runs, and not when the clean-up is needed.
func ExampleDo_cleanupMethod() {
	server := &http.Server{}
	_, err := resources.CleanupMethod(server, "Shutdwon")
	fmt.Println(err)

	stop, err := resources.CleanupMethod(server, "Shutdown")
	if err != nil {
		log.Fatal(err)
	}
	sup, err := supervisor.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer sup.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	serve := resources.Func(func(context.Context) (struct{}, error) {
		err := server.Serve(listener)
		fmt.Println(err)
		return struct{}{}, err
	}).Named("serve").CleanupContext(stop)
	_, err = supervisor.Do(context.Background(), sup, serve, supervisor.Within(50*time.Millisecond))
	fmt.Println(errors.Is(err, context.DeadlineExceeded))
	// Output:
	// func: CleanupMethod: *http.Server has no exported method "Shutdwon"; when it names no method, a clean-up must be a function
	// http: Server closed
	// true
}

// A session is opened once and serves many calls, each with a deadline of its own. A call
// that hangs ends alone: the session serves the next.
func ExampleOpen() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if strings.Contains(string(body), "hang") {
			<-r.Context().Done()
		}
		w.Header().Set("Content-Type", "text/xml")
		fmt.Fprint(w, `<methodResponse><params><param><value><string>hello</string></value></param></params></methodResponse>`)
	}))
	defer server.Close()
	sup, err := supervisor.Start(supervisor.WithPolicy(timeoutpolicy.Fixed(10 * time.Second)))
	if err != nil {
		log.Fatal(err)
	}
	defer sup.Close()

	ctx := context.Background()
	session, err := supervisor.Open(ctx, sup, resources.XMLRPC{URL: server.URL})
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close()

	var reply string
	err = session.Call(supervisor.WithOptions(ctx, supervisor.Within(100*time.Millisecond)), "hang", nil, &reply)
	fmt.Println("timeout:", errors.Is(err, context.DeadlineExceeded))
	err = session.Call(ctx, "greet", nil, &reply)
	fmt.Println(reply, err)
	// Output:
	// timeout: true
	// hello <nil>
}

// A policy is changed while it is in use. A bad value is refused and the old policy stays.
func ExampleSupervisor_SetPolicy() {
	sup, err := supervisor.Start(supervisor.WithPolicy(timeoutpolicy.Fixed(10 * time.Second)))
	if err != nil {
		log.Fatal(err)
	}
	defer sup.Close()

	fmt.Println(sup.SetPolicy(timeoutpolicy.Fixed(-time.Second)) != nil, sup.Policy())
	fmt.Println(sup.SetPolicy(timeoutpolicy.Fixed(time.Minute)), sup.Policy())
	fmt.Println(sup.SetPolicy(nil), sup.Policy())
	// Output:
	// true fixed 10s
	// <nil> fixed 1m
	// <nil> <nil>
}

// A page that hangs costs its visitor the limit, and a visitor who has less left than that
// says so.
func ExampleSupervisor_Handler() {
	sup, err := supervisor.Start(supervisor.WithPolicy(timeoutpolicy.Fixed(100 * time.Millisecond)))
	if err != nil {
		log.Fatal(err)
	}
	defer sup.Close()

	mux := http.NewServeMux()
	mux.Handle("GET /news", sup.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "good morning")
	})))
	mux.Handle("GET /hangs", sup.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		due, _ := r.Context().Deadline()
		fmt.Println("at most 20 ms:", time.Until(due) <= 20*time.Millisecond)
		<-r.Context().Done()
	})))
	server := httptest.NewServer(mux)
	defer server.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	page, err := supervisor.Do(ctx, sup, resources.Fetch{URL: server.URL + "/news"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d %s\n", page.Status, page.Body)

	// What is left of the visitor's own time: Inherit(ctx, header) writes it.
	header := http.Header{supervisor.TimeoutHeader: {"20m"}}
	page, err = supervisor.Do(ctx, sup, resources.Fetch{URL: server.URL + "/hangs", Header: header, AnyStatus: true},
		supervisor.Within(5*time.Second))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d %s", page.Status, page.Body)
	// Output:
	// 200 good morning
	// at most 20 ms: true
	// 503 Service Unavailable
}

// The first that fails ends the others, and Wait returns when all of them are clean.
func ExampleSupervisor_Group() {
	sup, err := supervisor.Start(supervisor.WithPolicy(timeoutpolicy.Fixed(10 * time.Second)))
	if err != nil {
		log.Fatal(err)
	}
	defer sup.Close()

	g := sup.Group(context.Background())
	asked := make(chan struct{})
	g.Go(func(ctx context.Context) error {
		close(asked)
		<-ctx.Done() // a fetch, say, by supervisor.Do(ctx, …)
		fmt.Println("ended because:", context.Cause(ctx))
		return ctx.Err()
	})
	g.Go(func(context.Context) error {
		<-asked
		return errors.New("the second mirror is empty")
	})
	fmt.Println("first error:", g.Wait())
	// Output:
	// ended because: the second mirror is empty
	// first error: the second mirror is empty
}
