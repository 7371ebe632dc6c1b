package supervisor_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/resources"
	"curfew.example/resources/resourcetest"
	"curfew.example/supervisor"
	"curfew.example/timeoutpolicy"
)

// speaker is a peer that answers lines: an echo, the number of the connection, or as it is
// told.
type speaker struct {
	address  string
	accepted atomic.Int64
	closes   chan int64 // the connections that have ended, by number
}

// newSpeaker listens at address, and greets each connection unless greeting is empty.
func newSpeaker(t *testing.T, network, address, greeting string) *speaker {
	t.Helper()
	l, err := net.Listen(network, address)
	require.NoError(t, err)
	s := &speaker{address: l.Addr().String(), closes: make(chan int64, 1000)}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			n := s.accepted.Add(1)
			all.Go(func() {
				defer func() { _ = conn.Close(); s.closes <- n }()
				fmt.Fprint(conn, greeting)
				s.serve(conn, n)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	return s
}

func (s *speaker) serve(conn net.Conn, n int64) {
	for in := bufio.NewScanner(conn); in.Scan(); {
		switch cmd, rest, _ := strings.Cut(in.Text(), " "); cmd {
		case "number":
			fmt.Fprintln(conn, n)
		case "hang":
		case "bye":
			return
		case "leave":
			fmt.Fprintln(conn, "left")
			return
		case "many":
			fmt.Fprint(conn, "1\n2\n3\n.\n")
		case "twice":
			fmt.Fprint(conn, rest+"\n"+rest+"\n")
		case "long":
			fmt.Fprintln(conn, strings.Repeat("x", 2000))
		default:
			fmt.Fprintln(conn, in.Text())
		}
	}
}

func openConnection(t *testing.T, c resources.Connection) *resources.ConnectionSession {
	t.Helper()
	sup, err := supervisor.Start(supervisor.WithPolicy(timeoutpolicy.Fixed(20 * time.Second)))
	require.NoError(t, err)
	t.Cleanup(func() {
		assert.NoError(t, sup.Close())
		assert.Empty(t, sup.Leftovers())
	})
	s, err := supervisor.Open(t.Context(), sup, c)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	return s
}

func asked(t *testing.T, s *resources.ConnectionSession, line string) string {
	t.Helper()
	got, err := s.Ask(t.Context(), line)
	require.NoError(t, err)
	return got
}

func TestAConnectionAnswersInTurn(t *testing.T) {
	for network, address := range map[string]string{"tcp": "127.0.0.1:0", "unix": filepath.Join(t.TempDir(), "s")} {
		t.Run(network, func(t *testing.T) {
			resourcetest.NothingLeft(t)
			peer := newSpeaker(t, network, address, "")
			s := openConnection(t, resources.Connection{Address: network + "://" + peer.address})
			var all sync.WaitGroup
			for i := range 50 {
				all.Go(func() {
					got, err := s.Ask(t.Context(), fmt.Sprint("n", i))
					assert.NoError(t, err)
					assert.Equal(t, fmt.Sprint("n", i), got)
				})
			}
			all.Wait()
			lines, err := s.AskUntil(t.Context(), "many", func(l string) bool { return l == "." })
			require.NoError(t, err)
			assert.Equal(t, []string{"1", "2", "3", "."}, lines)
			assert.EqualValues(t, 1, peer.accepted.Load(), "one connection for all")
			start := time.Now()
			require.NoError(t, s.Close())
			assert.Less(t, time.Since(start), 50*time.Millisecond)
			assert.EqualValues(t, 1, <-peer.closes)
		})
	}
}

func TestAConnectionGoesWithTheCallThatExpires(t *testing.T) {
	peer := newSpeaker(t, "tcp", "127.0.0.1:0", "")
	s := openConnection(t, resources.Connection{Address: peer.address})
	assert.Equal(t, "1", asked(t, s, "number"))
	const limit = 100 * time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	plain, start := resourcetest.PlainTimer(limit), time.Now()
	_, err := s.Ask(ctx, "hang")
	assert.Less(t, time.Since(start)-limit, <-plain+50*time.Millisecond)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	assert.EqualValues(t, 1, <-peer.closes, "the peer sees it")
	assert.Equal(t, "2", asked(t, s, "number"))
}

func TestAConnectionWhosePeerHangsUpIsOpenedAnew(t *testing.T) {
	peer := newSpeaker(t, "tcp", "127.0.0.1:0", "")
	s := openConnection(t, resources.Connection{Address: peer.address})
	_, err := s.Ask(t.Context(), "bye")
	assert.ErrorContains(t, err, "tcp://"+peer.address+" has ended")
	assert.Equal(t, "left", asked(t, s, "leave"))
	<-peer.closes
	<-peer.closes
	// Only a call that comes before its end is known here may fail.
	assert.Eventually(t, func() bool {
		got, err := s.Ask(t.Context(), "number")
		return err == nil && got == "3"
	}, 5*time.Second, 10*time.Millisecond)
}

func TestAPeerThatSpeaksUnaskedIsNotBelieved(t *testing.T) {
	peer := newSpeaker(t, "tcp", "127.0.0.1:0", "")
	s := openConnection(t, resources.Connection{Address: peer.address})
	assert.Equal(t, "a", asked(t, s, "twice a"))
	// Only a call that comes before the second line is known here may get it.
	assert.Eventually(t, func() bool {
		got, err := s.Ask(t.Context(), "number")
		return err == nil && got == "2"
	}, 5*time.Second, 10*time.Millisecond)
	assert.Equal(t, "b", asked(t, s, "b"))
}

func TestAPeersReplyHasALimit(t *testing.T) {
	peer := newSpeaker(t, "tcp", "127.0.0.1:0", "")
	s := openConnection(t, resources.Connection{Address: peer.address, ReplyMaxBytes: 1000})
	_, err := s.Ask(t.Context(), "long")
	var large *resources.TooLargeError
	require.ErrorAs(t, err, &large)
	assert.EqualValues(t, 1000, large.MaxBytes)
	assert.Equal(t, "b", asked(t, s, "b"))
}

func TestAGreetingBelongsToTheOpening(t *testing.T) {
	peer := newSpeaker(t, "tcp", "127.0.0.1:0", "220 ready\n")
	s := openConnection(t, resources.Connection{Address: peer.address, Greets: true})
	assert.Equal(t, "hello", asked(t, s, "hello"))

	silent := newSpeaker(t, "tcp", "127.0.0.1:0", "")
	sup, err := supervisor.Start()
	require.NoError(t, err)
	_, err = supervisor.Open(t.Context(), sup, resources.Connection{Address: silent.address, Greets: true}, supervisor.Within(100*time.Millisecond))
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	assert.EqualValues(t, 1, <-silent.closes)
	require.NoError(t, sup.Close())
}

func TestAConnectionThatIsRefusedSaysSo(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	sup, err := supervisor.Start(supervisor.WithPolicy(timeoutpolicy.Fixed(time.Second)))
	require.NoError(t, err)
	_, err = supervisor.Open(t.Context(), sup, resources.Connection{Address: l.Addr().String()})
	assert.ErrorIs(t, err, syscall.ECONNREFUSED)
	require.NoError(t, sup.Close())
}

func TestAHundredCallersOfAConnectionThatExpiresGetNoWrongAnswer(t *testing.T) {
	peer := newSpeaker(t, "tcp", "127.0.0.1:0", "")
	s := openConnection(t, resources.Connection{Address: peer.address})
	var good, expired atomic.Int64
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			for j := range 20 {
				line := fmt.Sprint("n", i, "-", j)
				if i%10 == 0 && j%10 == 5 {
					ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
					_, err := s.Ask(ctx, "hang")
					cancel()
					assert.ErrorIs(t, err, context.DeadlineExceeded)
					expired.Add(1)
					continue
				}
				got, err := s.Ask(t.Context(), line)
				if assert.NoError(t, err) {
					assert.Equal(t, line, got)
					good.Add(1)
				}
			}
		})
	}
	all.Wait()
	assert.EqualValues(t, 20, expired.Load())
	assert.EqualValues(t, 1980, good.Load())
}

func TestAConnectionThatMakesNoSenseIsRefused(t *testing.T) {
	for text, c := range map[string]resources.Connection{
		"connection: Address: is not HOST:PORT":                    {},
		"connection: Address: is of datagrams, which are no lines": {Address: "udp://h:1"},
		"connection: TLS: is set, but the address is not tls://":   {Address: "h:1", TLS: &resources.TLS{}},
		"connection: ReplyMaxBytes: is negative":                   {Address: "h:1", ReplyMaxBytes: -1},
	} {
		_, err := c.Spec()
		var invalid *resources.Invalid
		require.True(t, errors.As(err, &invalid), text)
		assert.EqualError(t, err, text)
	}
	peer := newSpeaker(t, "tcp", "127.0.0.1:0", "")
	s := openConnection(t, resources.Connection{Address: peer.address})
	_, err := s.Ask(t.Context(), "a\nb")
	assert.EqualError(t, err, "connection: line: holds the delimiter")
	_, err = s.AskUntil(t.Context(), "a", nil)
	assert.EqualError(t, err, "connection: last: is nil")
}
