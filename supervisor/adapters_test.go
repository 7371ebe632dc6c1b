package supervisor_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/actors"
	"curfew.example/resources"
	"curfew.example/resources/resourcetest"
	"curfew.example/supervisor"
	"curfew.example/timeoutpolicy"
)

// real runs a test with a supervisor in real time, whose requests have limit.
func real(t *testing.T, limit time.Duration) *supervisor.Supervisor {
	t.Helper()
	resourcetest.NothingLeft(t)
	sup, err := supervisor.Start(supervisor.WithPolicy(timeoutpolicy.Fixed(limit)))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, sup.Close()) })
	return sup
}

// onTime fails when more than 50 ms and a plain timer's own lateness have passed since limit.
func onTime(t *testing.T, limit time.Duration, f func()) {
	t.Helper()
	plain := resourcetest.PlainTimer(limit)
	start := time.Now()
	f()
	late := time.Since(start) - limit
	assert.Less(t, late, 50*time.Millisecond+<-plain)
	assert.Greater(t, late, -10*time.Millisecond)
}

func client(t *testing.T, sup *supervisor.Supervisor) *http.Client {
	base := &http.Transport{}
	t.Cleanup(base.CloseIdleConnections)
	return &http.Client{Transport: sup.Transport(base)}
}

func TestTransportIsADropIn(t *testing.T) {
	sup := real(t, 5*time.Second)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(append([]byte(r.Method+" "), body...))
	}))
	t.Cleanup(server.Close)
	c := client(t, sup)
	for range 3 {
		resp, err := c.Post(server.URL, "text/plain", strings.NewReader("hello"))
		require.NoError(t, err)
		got, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		assert.Equal(t, "POST hello", string(got))
		require.NoError(t, resp.Body.Close())
		require.NoError(t, resp.Body.Close())
	}
}

func TestTransportsBudgetLastsUntilTheBodyIsClosed(t *testing.T) {
	sup := real(t, 200*time.Millisecond)
	gone := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("first"))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(gone)
	}))
	t.Cleanup(server.Close)
	onTime(t, 200*time.Millisecond, func() {
		resp, err := client(t, sup).Get(server.URL)
		require.NoError(t, err)
		got, err := io.ReadAll(resp.Body)
		assert.Equal(t, "first", string(got), "what there is")
		var expired *supervisor.Expired
		assert.ErrorAs(t, err, &expired)
		assert.ErrorAs(t, resp.Body.Close(), &expired)
		<-gone
	})
}

func TestTransportExpiresBeforeTheHeaders(t *testing.T) {
	sup := real(t, 100*time.Millisecond)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(server.Close)
	onTime(t, 100*time.Millisecond, func() {
		_, err := client(t, sup).Get(server.URL)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

func TestTransportRefusalClosesTheRequestsBody(t *testing.T) {
	sup := real(t, time.Second)
	require.NoError(t, sup.SetPolicy(nil))
	body := &closeNoter{Reader: strings.NewReader("x")}
	req, err := http.NewRequest("POST", "http://127.0.0.1:1/", body)
	require.NoError(t, err)
	_, err = sup.Transport(nil).RoundTrip(req)
	assert.ErrorIs(t, err, supervisor.ErrNoLimit)
	assert.True(t, body.closed)
}

// roundTripper is a base of a test's own.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// impatient waits for no clean-up.
func impatient(limit time.Duration) timeoutpolicy.Policy {
	none := timeoutpolicy.None
	return timeoutpolicy.Compose(timeoutpolicy.Fixed(limit), timeoutpolicy.Grace(none), timeoutpolicy.Force(none))
}

// A caller that goes away may be answered before the exchange has come to run.
func TestTransportClosesTheRequestsBodyOnceWhoeverComesFirst(t *testing.T) {
	sup := real(t, time.Minute)
	require.NoError(t, sup.SetPolicy(impatient(time.Minute)))
	tripper := sup.Transport(roundTripper(func(r *http.Request) (*http.Response, error) {
		return nil, errors.Join(errWork, r.Body.Close())
	}))
	const rounds = 5000
	var closes atomic.Int64
	for i := range rounds {
		ctx, cancel := context.WithCancel(t.Context())
		req, err := http.NewRequestWithContext(ctx, "POST", "http://127.0.0.1/", &closeCounter{strings.NewReader("x"), &closes})
		require.NoError(t, err)
		go func() {
			for range i % 50 {
				runtime.Gosched()
			}
			cancel()
		}()
		_, err = tripper.RoundTrip(req)
		assert.Error(t, err)
		<-ctx.Done()
	}
	require.Eventually(t, func() bool { return len(sup.Leftovers()) == 0 }, 10*time.Second, time.Millisecond)
	assert.EqualValues(t, rounds, closes.Load())
}

// closeCounter counts its closings.
type closeCounter struct {
	io.Reader
	closes *atomic.Int64
}

func (c *closeCounter) Close() error { c.closes.Add(1); return nil }

func TestTransportClosesABodyThatBlocks(t *testing.T) {
	sup := real(t, 200*time.Millisecond)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	t.Cleanup(server.Close)
	body, w := io.Pipe() // nobody writes
	defer w.Close()
	onTime(t, 200*time.Millisecond, func() {
		_, err := client(t, sup).Post(server.URL, "text/plain", body)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
	})
	assert.Empty(t, sup.Leftovers())
	_, err := w.Write([]byte("x"))
	assert.ErrorIs(t, err, io.ErrClosedPipe)
}

// Not everybody closes what has nothing to read, and it holds no slot.
func TestTransportIsDoneWithAnAnswerThatHasNoBody(t *testing.T) {
	for name, body := range map[string]io.ReadCloser{"none": http.NoBody, "nil": nil} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
				began := time.Now()
				client := &http.Client{Transport: sup.Transport(roundTripper(func(*http.Request) (*http.Response, error) {
					return &http.Response{StatusCode: http.StatusNoContent, Body: body}, nil
				}))}
				for range 3 {
					resp, err := client.Head("http://127.0.0.1/")
					require.NoError(t, err)
					got, err := io.ReadAll(resp.Body)
					assert.NoError(t, err)
					assert.Empty(t, got)
				}
				assert.Zero(t, time.Since(began))
			}, tenSeconds(), supervisor.WithLimits(supervisor.Limits{AtOnce: 1}))
		})
	}
}

// pooledBase is a base that has idle connections.
type pooledBase struct {
	http.RoundTripper
	closed bool
}

func (b *pooledBase) CloseIdleConnections() { b.closed = true }

func TestTransportClosesTheIdleConnectionsOfItsBase(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		base := &pooledBase{}
		(&http.Client{Transport: sup.Transport(base)}).CloseIdleConnections()
		assert.True(t, base.closed)
		(&http.Client{Transport: sup.Transport(roundTripper(nil))}).CloseIdleConnections()
	})
}

func TestTransportClosesABodyThatIsSentAgainToo(t *testing.T) {
	sup := real(t, 200*time.Millisecond)
	var sent roundTripper = func(r *http.Request) (*http.Response, error) {
		_ = r.Body.Close() // the connection was stale: net/http sends it on another
		body, err := r.GetBody()
		require.NoError(t, err)
		defer body.Close()
		_, err = io.Copy(io.Discard, body)
		return nil, err
	}
	req, err := http.NewRequest("POST", "http://127.0.0.1/", strings.NewReader("x"))
	require.NoError(t, err)
	again, w := io.Pipe() // nobody writes
	defer w.Close()
	req.GetBody = func() (io.ReadCloser, error) { return again, nil }
	onTime(t, 200*time.Millisecond, func() {
		_, err := sup.Transport(sent).RoundTrip(req)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
	})
	assert.Empty(t, sup.Leftovers())
}

// What takes long and moves is no stall.
func TestTransportCountsWhatIsSentAsProgress(t *testing.T) {
	stalling := timeoutpolicy.Compose(timeoutpolicy.Fixed(time.Hour), timeoutpolicy.Stall(time.Second))
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		go func() { _, _ = io.Copy(io.Discard, theirs) }() // ends with the connection
		tripper := sup.Transport(roundTripper(func(r *http.Request) (*http.Response, error) {
			_, err := io.Copy(io.Discard, r.Body)
			return &http.Response{StatusCode: http.StatusSwitchingProtocols, Body: ours}, err
		}))
		req, err := http.NewRequest("POST", "http://127.0.0.1/", io.NopCloser(&dripping{10}))
		require.NoError(t, err)
		resp, err := tripper.RoundTrip(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		switched := resp.Body.(io.ReadWriteCloser)
		for range 10 {
			time.Sleep(900 * time.Millisecond)
			_, err := switched.Write([]byte("x"))
			require.NoError(t, err)
		}
		time.Sleep(time.Second + 1)
		_, err = switched.Write([]byte("x"))
		var expired *supervisor.Expired
		require.ErrorAs(t, err, &expired)
		assert.Equal(t, actors.Stalled, expired.Receipt.Phase)
	}, supervisor.WithPolicy(stalling))
}

// dripping reads as so many bytes, each of which is long in coming.
type dripping struct{ left int }

func (d *dripping) Read(p []byte) (int, error) {
	if d.left == 0 {
		return 0, io.EOF
	}
	time.Sleep(900 * time.Millisecond)
	d.left--
	return copy(p, "x"), nil
}

type closeNoter struct {
	io.Reader
	closed bool
}

func (c *closeNoter) Close() error { c.closed = true; return nil }

func TestDialerReportsErrorsAsTheyAreAndHandsOverTheConnection(t *testing.T) {
	sup := real(t, time.Second)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	conn, err := sup.Dialer().Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	require.NoError(t, l.Close())
	_, err = sup.Dialer().Dial("tcp", l.Addr().String())
	assert.ErrorIs(t, err, syscall.ECONNREFUSED)
	_, err = sup.Dialer().Dial("tcp", "")
	var invalid *supervisor.Invalid
	assert.ErrorAs(t, err, &invalid)
}

func TestASupervisedConnIsClosedUnderItsReaderAtExpiry(t *testing.T) {
	sup := real(t, 100*time.Millisecond)
	ours, theirs := net.Pipe()
	onTime(t, 100*time.Millisecond, func() {
		c, err := sup.Conn(t.Context(), ours)
		require.NoError(t, err)
		_, err = c.Read(make([]byte, 1))
		var expired *supervisor.Expired
		assert.ErrorAs(t, err, &expired)
		assert.ErrorAs(t, c.Close(), &expired)
		_, err = theirs.Read(make([]byte, 1))
		assert.ErrorIs(t, err, io.EOF, "the peer sees the close")
	})
	ours, theirs = net.Pipe()
	go func() { _, _ = theirs.Write([]byte("hello")) }()
	c, err := sup.Conn(t.Context(), ours, supervisor.Within(time.Minute))
	require.NoError(t, err)
	buf := make([]byte, 5)
	_, err = io.ReadFull(c, buf)
	require.NoError(t, err)
	require.NoError(t, c.Close())
	_, err = theirs.Read(buf)
	assert.ErrorIs(t, err, io.EOF)
}

func TestCommandIsShapedLikeExecs(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs sh")
	}
	sup := real(t, 5*time.Second)
	out, err := sup.Command(t.Context(), "sh", "-c", "cat; echo err >&2; exit 3").Output()
	var exit *resources.ExitError
	require.ErrorAs(t, err, &exit)
	assert.Equal(t, 3, exit.Code)
	assert.Equal(t, "err\n", string(exit.Stderr))
	assert.Empty(t, out)

	cmd := sup.Command(t.Context(), "sh", "-c", "cat; echo $X >&2")
	cmd.Stdin, cmd.Env = strings.NewReader("in\n"), []string{"X=err", "PATH=/usr/bin:/bin"}
	out, err = cmd.CombinedOutput()
	require.NoError(t, err)
	assert.Equal(t, "in\nerr\n", string(out))

	_, err = sup.Command(t.Context(), "no-such-program").Output()
	assert.Error(t, err)
	assert.NoError(t, sup.Command(t.Context(), "true").Run())
	_, err = cmd.Output()
	assert.Error(t, err, "Stdout is set")
}

func TestCommandExpiresWithWhatThereIs(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs sh")
	}
	sup := real(t, 200*time.Millisecond)
	onTime(t, 200*time.Millisecond, func() {
		out, err := sup.Command(t.Context(), "sh", "-c", "echo begun; sleep 60").Output()
		assert.Equal(t, "begun\n", string(out))
		assert.True(t, errors.Is(err, context.DeadlineExceeded))
	})
}
