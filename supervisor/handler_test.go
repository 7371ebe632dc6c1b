package supervisor_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/resources"
	"curfew.example/supervisor"
	"curfew.example/timeoutpolicy"
)

// answered has h answer one request, and returns what came of it and when; panicked is what
// the handler's panic said, nil when there was none.
func answered(h http.Handler, r *http.Request) (got *httptest.ResponseRecorder, took time.Duration, panicked any) {
	got = httptest.NewRecorder()
	began := time.Now()
	defer func() { took, panicked = time.Since(began), recover() }()
	h.ServeHTTP(got, r)
	return got, 0, nil
}

func get(header ...string) *http.Request {
	r := httptest.NewRequest("GET", "/hiddenpath?key=t0ken", nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

// tenSeconds is the policy of these tests, with the default grace and force.
func tenSeconds() supervisor.StartOption {
	return supervisor.WithPolicy(timeoutpolicy.Fixed(10 * time.Second))
}

func TestHandlerPassesAnAnswerInTimeOnAsItIs(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		h := sup.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			assert.Equal(t, "outer", w.Header().Get("X-From"), "what stands above is seen")
			w.Header().Del("X-From")
			w.Header().Set("X-Kind", "content")
			due, ok := r.Context().Deadline()
			assert.True(t, ok)
			assert.Equal(t, 10*time.Second, time.Until(due))
			time.Sleep(10*time.Second - 1)
			w.WriteHeader(http.StatusCreated)
			_, err := io.WriteString(w, "done")
			assert.NoError(t, err)
			assert.NoError(t, http.NewResponseController(w).Flush())
		}))
		got, took, panicked := answered(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-From", "outer")
			h.ServeHTTP(w, r)
		}), get())
		assert.Nil(t, panicked)
		assert.Equal(t, 10*time.Second-1, took)
		assert.Equal(t, http.StatusCreated, got.Code)
		assert.Equal(t, "done", got.Body.String())
		assert.True(t, got.Flushed)
		assert.Equal(t, http.Header{"X-Kind": {"content"}}, got.Result().Header)

		got, _, _ = answered(sup.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Kind", "empty") })), get())
		assert.Equal(t, 200, got.Code)
		assert.Equal(t, "empty", got.Header().Get("X-Kind"))
	}, tenSeconds())
}

func TestHandlerThatExpiresIsA503ExactlyAtItsLimit(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Kind", "content")
			<-r.Context().Done()
			assert.ErrorIs(t, r.Context().Err(), context.DeadlineExceeded)
			assert.ErrorContains(t, context.Cause(r.Context()), "limit 10s granted by fixed 10s")
		})
		got, took, panicked := answered(sup.Handler(h), get())
		assert.Nil(t, panicked)
		assert.Equal(t, 10*time.Second, took)
		assert.Equal(t, http.StatusServiceUnavailable, got.Code)
		assert.Equal(t, "Service Unavailable\n", got.Body.String())
		assert.Empty(t, got.Header().Get("X-Kind"), "of the answer that was none")
		assert.Empty(t, sup.Leftovers())
	}, tenSeconds())
}

func TestHandlerThatIsDeafIsAnsweredForAndCannotTouchTheAnswer(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		late := make(chan error, 2)
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(20 * time.Second)
			w.Header().Set("X-Late", "yes")
			w.WriteHeader(http.StatusTeapot)
			_, err := w.Write([]byte("too late"))
			late <- err
			late <- http.NewResponseController(w).Flush()
		})
		for name, c := range map[string]struct {
			options []supervisor.Option
			after   time.Duration
		}{
			"when its time is over":  {nil, 10*time.Second + timeoutpolicy.DefaultGrace + timeoutpolicy.DefaultForce},
			"at the deadline, asked": {[]supervisor.Option{supervisor.AnswerAtDeadline()}, 10 * time.Second},
		} {
			got, took, panicked := answered(sup.Handler(h, c.options...), get())
			assert.Nil(t, panicked, name)
			assert.Equal(t, c.after, took, name)
			assert.Equal(t, http.StatusServiceUnavailable, got.Code, name)
			assert.ErrorIs(t, <-late, http.ErrHandlerTimeout, name)
			assert.ErrorIs(t, <-late, http.ErrHandlerTimeout, name)
			assert.Equal(t, "Service Unavailable\n", got.Body.String(), name)
			assert.Empty(t, got.Header().Get("X-Late"), name)
			synctest.Wait()
		}
	}, tenSeconds())
}

func TestHandlerWhoseAnswerHasBegunIsAborted(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		got, took, panicked := answered(sup.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte("half"))
			<-r.Context().Done()
		})), get())
		assert.Equal(t, http.ErrAbortHandler, panicked)
		assert.Equal(t, 10*time.Second, took)
		assert.Equal(t, "half", got.Body.String())

		// What is informational is no answer yet.
		got, _, panicked = answered(sup.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", "</style.css>; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
			<-r.Context().Done()
		})), get())
		assert.Nil(t, panicked)
		assert.Contains(t, got.Body.String(), "Service Unavailable")
	}, tenSeconds())
}

func TestHandlersPanicGoesOn(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		for _, value := range []any{"a bug", http.ErrAbortHandler, io.EOF} {
			_, took, panicked := answered(sup.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(value) })), get())
			assert.Equal(t, value, panicked)
			assert.Zero(t, took)
		}
	}, tenSeconds())
}

func TestHandlerKeepsToWhatItsCallerHasLeft(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		started := false
		h := sup.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			started = true
			<-r.Context().Done()
		}))
		for sent, want := range map[string]time.Duration{
			"2S": 2 * time.Second, "1500m": 1500 * time.Millisecond, "3u": 3 * time.Microsecond, "99999999n": 99999999,
			"1M": 10 * time.Second, "99999999H": 10 * time.Second, "": 10 * time.Second,
		} {
			got, took, _ := answered(h, get(supervisor.TimeoutHeader, sent))
			assert.Equal(t, want, took, sent)
			assert.Equal(t, http.StatusServiceUnavailable, got.Code, sent)
		}
		for sent, code := range map[string]int{
			"0n": http.StatusServiceUnavailable, "0H": http.StatusServiceUnavailable,
			"5": 400, "S": 400, "5s": 400, "-5S": 400, "+5S": 400, " 5S": 400, "123456789S": 400, "1.5S": 400, "5SS": 400, "0x5S": 400, "１S": 400,
		} {
			started = false
			got, took, panicked := answered(h, get(supervisor.TimeoutHeader, sent))
			assert.Nil(t, panicked, sent)
			assert.Equal(t, code, got.Code, sent)
			assert.Zero(t, took, sent)
			assert.False(t, started, "nothing is started: %q", sent)
		}
	}, tenSeconds())
}

func TestInheritSendsWhatIsLeft(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		for left, want := range map[time.Duration]string{
			-time.Second: "0n", 0: "0n", 1: "1n", 99999999: "99999999n", 100000000: "100000u", 1500 * time.Millisecond: "1500000u",
			time.Hour: "3600000m", 100 * 24 * time.Hour: "8640000S", 1<<63 - 1: "2562047H",
		} {
			ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(left))
			h := http.Header{}
			supervisor.Inherit(ctx, h)
			cancel()
			if left == 1<<63-1 {
				assert.Regexp(t, "^[0-9]{1,8}[MH]$", h.Get(supervisor.TimeoutHeader))
				continue
			}
			assert.Equal(t, want, h.Get(supervisor.TimeoutHeader), left)
		}
		h := http.Header{}
		supervisor.Inherit(t.Context(), h)
		assert.Empty(t, h, "there is no deadline")
	})
}

func TestHandlerRefusesAsTheSupervisorDoes(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		hold := make(chan struct{})
		h := sup.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hold }))
		for range 2 { // one at work, one that waits
			go answered(h, get()) // ends with hold
			synctest.Wait()
		}
		got, took, _ := answered(h, get())
		assert.Equal(t, http.StatusServiceUnavailable, got.Code, "overloaded")
		assert.Zero(t, took)
		close(hold)
		synctest.Wait()

		require.NoError(t, sup.SetPolicy(nil))
		got, _, _ = answered(h, get())
		assert.Equal(t, http.StatusInternalServerError, got.Code, "no limit")
		require.NoError(t, sup.Close())
		got, _, _ = answered(h, get())
		assert.Equal(t, http.StatusServiceUnavailable, got.Code, "closed")
	}, tenSeconds(), supervisor.WithLimits(supervisor.Limits{AtOnce: 1, Waiting: 1}))
}

func TestHandlerIsKnownByItsPatternAndNotByWhatIsAskedFor(t *testing.T) {
	var events []supervisor.Event
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		require.NoError(t, sup.SetPolicy(timeoutpolicy.Compose(timeoutpolicy.Fixed(10*time.Second),
			timeoutpolicy.Cap(2*time.Second).Kind("serve").Endpoint("GET /{name}"))))
		mux := http.NewServeMux()
		mux.Handle("GET /{name}", sup.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			assert.Equal(t, "hiddenpath", r.PathValue("name"))
			<-r.Context().Done()
		})))
		_, took, _ := answered(mux, get())
		assert.Equal(t, 2*time.Second, took)
		require.NoError(t, sup.Close())
		for _, e := range events {
			shown := fmt.Sprintf("%+v %+v", e, e.Receipt)
			assert.NotContains(t, shown, "hiddenpath")
			assert.NotContains(t, shown, "t0ken")
		}
		assert.NotEmpty(t, events)
	}, supervisor.WithEvents(func(e supervisor.Event) { events = append(events, e) }))
}

// serves starts a real server of h under sup, and returns its address.
func serves(t *testing.T, sup *supervisor.Supervisor, h http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewUnstartedServer(sup.Handler(h))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Start()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// dialed is a connection to address on which text has been sent.
func dialed(t *testing.T, address, text string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = io.WriteString(conn, text)
	require.NoError(t, err)
	return conn
}

func TestHandlerThatReadsABodyThatDoesNotComeIsEnded(t *testing.T) {
	sup := real(t, 200*time.Millisecond)
	read := make(chan error, 1)
	address := serves(t, sup, func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body) // deaf to its context
		read <- err
	})
	onTime(t, 200*time.Millisecond, func() {
		conn := dialed(t, address, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err)
		defer resp.Body.Close()
		assert.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	})
	assert.ErrorIs(t, <-read, os.ErrDeadlineExceeded)
	assert.Empty(t, sup.Leftovers())
}

// deadlineNoter counts how often the connection's deadline for reads is set.
type deadlineNoter struct {
	*httptest.ResponseRecorder
	set atomic.Int64
}

func (d *deadlineNoter) SetReadDeadline(time.Time) error { d.set.Add(1); return nil }

// A connection that is kept serves its next request while the hooks of the last still run.
func TestHandlerLeavesTheConnectionAloneOnceItHasAnswered(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		var hooked atomic.Bool
		h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_ = resources.HeldFrom(r.Context()).OnAbort(&resources.Piece{What: "slow hook", Close: func() error {
				time.Sleep(time.Second)
				hooked.Store(true)
				return nil
			}})
			<-r.Context().Done()
		})
		w := &deadlineNoter{ResponseRecorder: httptest.NewRecorder()}
		began := time.Now()
		sup.Handler(h, supervisor.AnswerAtDeadline()).ServeHTTP(w, httptest.NewRequest("POST", "/", strings.NewReader("x")))
		assert.Equal(t, 10*time.Second, time.Since(began))
		assert.Equal(t, http.StatusServiceUnavailable, w.Code)
		assert.False(t, hooked.Load())
		assert.EqualValues(t, 1, w.set.Load(), "a read of the body is ended before the answer")
		time.Sleep(time.Minute)
		assert.True(t, hooked.Load())
		assert.EqualValues(t, 1, w.set.Load())
	}, tenSeconds())
}

func TestHandlerThatWritesToWhoDoesNotReadIsEnded(t *testing.T) {
	sup := real(t, 200*time.Millisecond)
	wrote := make(chan error, 1)
	address := serves(t, sup, func(w http.ResponseWriter, _ *http.Request) {
		for part := make([]byte, 64<<10); ; { // deaf to its context
			if _, err := w.Write(part); err != nil {
				wrote <- err
				return
			}
		}
	})
	var conn net.Conn
	onTime(t, 200*time.Millisecond, func() {
		conn = dialed(t, address, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		assert.Error(t, <-wrote)
	})
	_, err := io.Copy(io.Discard, httpBody(t, conn))
	assert.Error(t, err, "half an answer is not taken for a whole one")
	assert.Empty(t, sup.Leftovers())
}

func TestHandlerOverHTTP2IsEndedToo(t *testing.T) {
	sup := real(t, 200*time.Millisecond)
	ended := make(chan error, 1)
	server := httptest.NewUnstartedServer(sup.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body) // deaf to its context
		for part := make([]byte, 64<<10); err == nil; {
			_, err = w.Write(part)
		}
		ended <- err
	})))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	c := server.Client()
	t.Cleanup(c.CloseIdleConnections)

	body, w := io.Pipe() // nobody writes
	resp, err := c.Post(server.URL, "text/plain", body)
	require.NoError(t, err)
	assert.Equal(t, 2, resp.ProtoMajor)
	assert.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	assert.ErrorIs(t, <-ended, os.ErrDeadlineExceeded)
	require.NoError(t, w.Close())
	require.NoError(t, resp.Body.Close())

	onTime(t, 200*time.Millisecond, func() {
		resp, err = c.Get(server.URL)
		require.NoError(t, err)
		assert.Error(t, <-ended)
	})
	_, err = io.Copy(io.Discard, resp.Body)
	assert.Error(t, err, "half an answer is not taken for a whole one")
	require.NoError(t, resp.Body.Close())
	assert.Empty(t, sup.Leftovers())
}

func httpBody(t *testing.T, conn net.Conn) io.Reader {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp.Body
}

func TestHandlersHijackedConnectionIsClosedAtExpiry(t *testing.T) {
	sup := real(t, 200*time.Millisecond)
	address := serves(t, sup, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if assert.NoError(t, err) {
			_, _ = io.WriteString(conn, "yours")
			_, _ = conn.Read(make([]byte, 1)) // deaf to its context
		}
	})
	onTime(t, 200*time.Millisecond, func() {
		all, err := io.ReadAll(dialed(t, address, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"))
		assert.NoError(t, err)
		assert.Equal(t, "yours", string(all))
	})
	assert.Empty(t, sup.Leftovers())
}

func TestHandlerEndsWithItsClient(t *testing.T) {
	sup := real(t, 10*time.Second)
	began, ended := make(chan struct{}), make(chan error, 1)
	address := serves(t, sup, func(_ http.ResponseWriter, r *http.Request) {
		close(began)
		<-r.Context().Done()
		ended <- r.Context().Err()
	})
	conn := dialed(t, address, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	<-began
	require.NoError(t, conn.Close())
	assert.ErrorIs(t, <-ended, context.Canceled)
}

func TestHandlerKeepsConnectionsTrailersAndNoFiles(t *testing.T) {
	sup := real(t, 10*time.Second)
	var file string
	peers := map[string]bool{}
	address := serves(t, sup, func(w http.ResponseWriter, r *http.Request) {
		peers[r.RemoteAddr] = true
		w.Header().Set("Trailer", "X-Sum")
		if !assert.NoError(t, r.ParseMultipartForm(1)) {
			return
		}
		part, err := r.MultipartForm.File["f"][0].Open()
		if assert.NoError(t, err) {
			defer part.Close()
			file = part.(*os.File).Name()
		}
		_, _ = io.WriteString(w, "read")
		w.Header().Set("X-Sum", "42")
	})
	var form strings.Builder
	m := multipart.NewWriter(&form)
	part, err := m.CreateFormFile("f", "name")
	require.NoError(t, err)
	_, _ = part.Write(make([]byte, 11<<20)) // beyond what is kept in memory
	require.NoError(t, m.Close())
	c := &http.Client{Transport: &http.Transport{}}
	defer c.CloseIdleConnections()
	for range 2 {
		resp, err := c.Post("http://"+address, m.FormDataContentType(), strings.NewReader(form.String()))
		require.NoError(t, err)
		got, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		assert.Equal(t, "read", string(got))
		assert.Equal(t, "42", resp.Trailer.Get("X-Sum"))
		require.NotEmpty(t, file)
		assert.NoFileExists(t, file)
	}
	assert.Len(t, peers, 1, "one connection served both")
}
