package supervisor

import (
	"bufio"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"curfew.example/resources"
)

// Handler returns a handler that runs each request to h as a request of kind "serve": its
// budget is what the policy grants, or what its caller has left if that is less and sent
// (TimeoutHeader). Its endpoint is the pattern of the http.ServeMux that it was found by,
// or else "handler". A nil h is http.DefaultServeMux. The options are those of Do, for
// every request; WithReceipt is for one and not wanted here.
//
// h runs on a goroutine of its own, and its request's context ends with the budget. Reads
// of the body and writes of the answer count as progress for Stall. At the end of the
// budget they fail (writes with http.ErrHandlerTimeout), also those under way, if the
// server's ResponseWriter can set deadlines; a connection that h has hijacked is closed.
// The client is then told 503, once h has returned or Grace and Force have passed
// (AnswerAtDeadline: at once); where it has been told something else already, its
// connection is aborted, so that half an answer is not taken for a whole one.
//
// What is refused (ErrOverloaded, ErrTooLate, ErrClosed …) is a 503 too, and what is wrong
// here (ErrNoLimit) a 500. A panic of h goes on into the server, as without a supervisor.
func (s *Supervisor) Handler(h http.Handler, options ...Option) http.Handler {
	if h == nil {
		h = http.DefaultServeMux
	}
	return &handler{s, h, options}
}

type handler struct {
	sup     *Supervisor
	inner   http.Handler
	options []Option
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel, err := withSentTime(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	defer cancel()
	a := &answer{to: w, control: http.NewResponseController(w), header: w.Header().Clone()}
	if a.header == nil {
		a.header = make(http.Header)
	}
	_, err = Do(ctx, h.sup, &serving{h.inner, a, r}, h.options...)
	a.finish(err)
}

// serving is one request from outside as a resource.
type serving struct {
	inner   http.Handler
	answer  *answer
	request *http.Request
}

// Spec implements resources.Resource. A pattern is the program's own text; what is asked
// for may be a secret.
func (s *serving) Spec() (resources.Spec, error) {
	name := s.request.Pattern
	if name == "" {
		name = "handler"
	}
	return resources.Spec{Kind: "serve", Target: name, Endpoint: name}, nil
}

// Run implements resources.Resource.
func (s *serving) Run(ctx context.Context, held *resources.Held) (struct{}, error) {
	s.answer.held = held
	r := s.request.WithContext(ctx)
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &inbound{moving{r.Body, held}, r.Body}
		s.answer.reads.Store(true)
	}
	if err := held.OnAbort(&resources.Piece{What: "answer", Close: s.answer.stop}); err != nil {
		return struct{}{}, err
	}
	held.Opened()
	defer func() {
		if r.MultipartForm != nil {
			_ = r.MultipartForm.RemoveAll() // the server does that for its own copy of the request alone
		}
	}()
	s.inner.ServeHTTP(s.answer, r)
	return struct{}{}, nil
}

// inbound is the body of a request from outside.
type inbound struct {
	moving
	io.Closer
}

// answer is the ResponseWriter that a handler gets. A handler that is left behind may hold
// on to it for as long as it likes: the server's own is not touched any more.
type answer struct {
	control *http.ResponseController
	held    *resources.Held
	reads   atomic.Bool // there is a body to read
	header  http.Header // the handler's, until it goes out

	cut      sync.Once   // by stop
	over     atomic.Bool // the handler has no say any more
	mu       sync.Mutex  // held while to is used
	to       http.ResponseWriter
	begun    bool // something has gone out
	hijacked bool
}

// Header implements http.ResponseWriter.
func (a *answer) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	_ = a.use(func() error {
		a.begin(status < 200 && status != http.StatusSwitchingProtocols)
		a.to.WriteHeader(status)
		return nil
	})
}

// Write implements http.ResponseWriter.
func (a *answer) Write(p []byte) (n int, err error) {
	err = a.use(func() error {
		a.begin(false)
		n, err = a.to.Write(p)
		return err
	})
	if n > 0 {
		a.held.Progress()
	}
	return n, err
}

// Flush implements http.Flusher.
func (a *answer) Flush() { _ = a.FlushError() }

// FlushError is Flush for http.ResponseController.
func (a *answer) FlushError() error {
	return a.use(func() error {
		a.begin(false)
		return a.control.Flush()
	})
}

// SetReadDeadline is for http.ResponseController.
func (a *answer) SetReadDeadline(t time.Time) error {
	return a.use(func() error { return a.control.SetReadDeadline(t) })
}

// SetWriteDeadline is for http.ResponseController.
func (a *answer) SetWriteDeadline(t time.Time) error {
	return a.use(func() error { return a.control.SetWriteDeadline(t) })
}

// EnableFullDuplex is for http.ResponseController.
func (a *answer) EnableFullDuplex() error {
	return a.use(func() error { return a.control.EnableFullDuplex() })
}

// Hijack implements http.Hijacker.
func (a *answer) Hijack() (conn net.Conn, rw *bufio.ReadWriter, err error) {
	err = a.use(func() error {
		if conn, rw, err = a.control.Hijack(); err != nil {
			return err
		}
		a.hijacked = true
		return a.held.OnAbort(&resources.Piece{What: "hijacked connection", Close: conn.Close})
	})
	return conn, rw, err
}

// use calls f unless all is over.
func (a *answer) use(f func() error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over.Load() {
		return http.ErrHandlerTimeout
	}
	return f()
}

// begin hands the header over. What is only informational does not begin the answer.
func (a *answer) begin(informational bool) {
	if !a.begun {
		a.handOver()
		a.begun = !informational
	}
}

func (a *answer) handOver() {
	clear(a.to.Header())
	maps.Copy(a.to.Header(), a.header)
}

// past is a deadline that ends what is under way.
func past() time.Time { return time.Unix(1, 0) }

// stop is the hook of a request that is cut short: it ends what the handler blocks on. A hook
// may come after the answer, when the connection may serve another request: finish has called
// it then, and it does nothing.
func (a *answer) stop() error {
	a.cut.Do(func() {
		if a.reads.Load() {
			_ = a.control.SetReadDeadline(past())
		}
		a.seal()
	})
	return nil
}

// seal takes the answer from the handler. A write under way, to a client that does not
// read perhaps, is ended: there is no answer to be saved then.
func (a *answer) seal() {
	if a.over.Swap(true) {
		return
	}
	if a.mu.TryLock() {
		a.mu.Unlock()
		return
	}
	_ = a.control.SetWriteDeadline(past())
}

// finish ends the answer as err, of the request, demands. It may panic, as handlers may.
func (a *answer) finish(err error) {
	_, unreleased := errors.AsType[*Unreleased](err)
	if err == nil || unreleased {
		a.seal()
	} else {
		_ = a.stop()
	}
	a.mu.Lock() // a write that is under way has been ended
	defer a.mu.Unlock()
	panicked, crashed := errors.AsType[*Panicked](err)
	switch {
	case a.hijacked && !crashed:
	case err == nil, unreleased:
		a.handOver() // with trailers, now
	case crashed && panicked.Value != nil:
		panic(panicked.Value)
	case crashed, a.begun:
		panic(http.ErrAbortHandler)
	default:
		status := statusOf(err)
		http.Error(a.to, http.StatusText(status), status)
	}
}

// statusOf is what a client is told of a request that was not answered.
func statusOf(err error) int {
	if _, invalid := errors.AsType[*Invalid](err); invalid || errors.Is(err, ErrNoLimit) {
		return http.StatusInternalServerError
	}
	return http.StatusServiceUnavailable
}
