package tests

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"curfew.example/actors"
	"curfew.example/resources"
	"curfew.example/supervisor"
	"curfew.example/tests/peers"
	"curfew.example/timeoutpolicy"
)

// stream is the other side of the first stream of an HTTP/2 connection: RFC 9113.
type stream struct {
	*peers.Conn
	*http2.Framer
	id uint32
}

// streamed reads up to the first request, and goes on with then.
func streamed(then func(*stream)) peers.Script {
	return func(c *peers.Conn) {
		_, _ = io.CopyN(io.Discard, c.In, int64(len(http2.ClientPreface)))
		s := &stream{c, http2.NewFramer(c, c.In), 0}
		_ = s.WriteSettings()
		for s.id == 0 {
			f, err := s.ReadFrame()
			if err != nil {
				return
			}
			if h, ok := f.(*http2.HeadersFrame); ok {
				s.id = h.StreamID
			}
		}
		then(s)
	}
}

// header is a header block of pairs.
func header(pairs ...string) []byte {
	var block bytes.Buffer
	e := hpack.NewEncoder(&block)
	for i := 0; i < len(pairs); i += 2 {
		_ = e.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1], Sensitive: true})
	}
	return block.Bytes()
}

// heads sends the head of an answer.
func (s *stream) heads(end bool, pairs ...string) {
	_ = s.WriteHeaders(http2.HeadersFrameParam{StreamID: s.id, BlockFragment: header(pairs...), EndHeaders: end})
}

// again calls say until that fails, or slowly until the other side closes.
func again(say func(*stream) error) func(*stream) {
	return func(s *stream) {
		go s.AwaitClose() // ends with the connection, which this does not outlive
		for say(s) == nil {
		}
	}
}

// slowly has say called now and then until the other side closes.
func slowly(say func(*stream) error) func(*stream) {
	return func(s *stream) {
		ended := make(chan struct{})
		go func() { // ends with the connection; waited for below
			s.AwaitClose()
			close(ended)
		}()
		tick := time.NewTicker(peers.DripEvery)
		defer tick.Stop()
		for {
			select {
			case <-ended:
				return
			case <-tick.C:
				_ = say(s)
			}
		}
	}
}

// after has first done once, and goes on with then.
func after(first, then func(*stream)) func(*stream) {
	return func(s *stream) { first(s); then(s) }
}

func data(s *stream) error { return s.WriteData(s.id, false, []byte("x")) }

func chunk(s *stream) error { return s.WriteData(s.id, false, bytes.Repeat([]byte("x"), 80)) }

func hints(s *stream) error {
	return s.WriteHeaders(http2.HeadersFrameParam{StreamID: s.id, BlockFragment: header(":status", "103", "x", "y"), EndHeaders: true})
}

func continued(s *stream) error {
	return s.WriteContinuation(s.id, false, header("x", strings.Repeat("y", 1000)))
}

// multiplexed are faults within an HTTP/2 exchange, and what has to come of each.
func multiplexed() map[string]struct {
	script peers.Script
	want   fate
} {
	type row = struct {
		script peers.Script
		want   fate
	}
	silent := func(*stream) {}
	ok := func(s *stream) { s.heads(true, ":status", "200") }
	open := func(s *stream) { s.heads(false, ":status", "200") }
	fails := fate{check: func(err error) bool { return err != nil }}
	return map[string]row{
		"stall before the settings":   {peers.Silent, running},
		"stall before the answer":     {streamed(silent), running},
		"stall in the headers":        {streamed(open), running},
		"drip of headers":             {streamed(after(open, slowly(continued))), running.amid(dripped)},
		"drip of 103":                 {streamed(slowly(hints)), running.amid(dripped)},
		"stall in the body":           {streamed(ok), running},
		"drip of a body":              {streamed(after(ok, slowly(data))), running.amid(dripped)},
		"drip of nothing":             {streamed(after(ok, slowly(func(s *stream) error { return s.WriteData(s.id, false, nil) }))), running.amid(dripped)},
		"pings and no answer":         {streamed(slowly(func(s *stream) error { return s.WritePing(false, [8]byte{}) })), running.amid(dripped)},
		"flood of headers":            {streamed(after(open, again(continued))), fails},
		"flood of 103":                {streamed(again(hints)), fails},
		"flood of body":               {streamed(after(ok, again(chunk))), tooMuch},
		"reset of the stream":         {streamed(func(s *stream) { _ = s.WriteRSTStream(s.id, http2.ErrCodeInternal) }), fails},
		"reset in the body":           {streamed(after(ok, func(s *stream) { _ = s.WriteRSTStream(s.id, http2.ErrCodeInternal) })), fails},
		"reset of the connection":     {streamed(after(ok, func(s *stream) { s.Reset() })), broken},
		"half-close in the body":      {streamed(after(ok, func(s *stream) { s.HalfClose() })), broken},
		"farewell before the answer":  {streamed(func(s *stream) { _ = s.WriteGoAway(s.id, http2.ErrCodeNo, nil) }), running},
		"flood of pings":              {streamed(again(func(s *stream) error { return s.WritePing(false, [8]byte{}) })), running.amid(flooded)},
		"flood of settings":           {streamed(again(func(s *stream) error { return s.WriteSettings() })), running.amid(flooded)},
		"flood of empty data":         {streamed(after(ok, again(func(s *stream) error { return s.WriteData(s.id, false, nil) }))), running.amid(flooded)},
		"frame that is too large":     {streamed(func(s *stream) { s.Say("\xff\xff\xff\x00\x00\x00\x00\x00\x01") }), fails},
		"garbage":                     {streamed(func(s *stream) { s.Say(strings.Repeat("what is this? ", 99)) }), fails},
		"answer of an older protocol": {peers.Says("HTTP/1.1 200 OK\r\n\r\n", peers.Silent), fails},
	}
}

// A request that expires loses its stream. The connection is the pool's, whose end is the
// supervisor's; to be told from one that is dead is for TestDeadNetworkUnderHTTP2….
func TestHostilePeerOverHTTP2IsAnsweredOnTime(t *testing.T) {
	for name, row := range multiplexed() {
		for kind, c := range map[string]client{"fetch": fetching("https://ADDR/" + hidden), "xmlrpc": calling("https://ADDR/" + hidden)} {
			t.Run(kind+", "+name, func(t *testing.T) {
				sup := realWorld(t, supervisor.WithPolicy(timeoutpolicy.Fixed(patience)))
				h := hostile{row.script, c, row.want, "h2"}
				p, request := h.prepare(t, sup)
				if h.want.phase != actors.NoPhase {
					h.losesItsStream(t, sup, p, request)
					return
				}
				h.ends(t, sup, request)
			})
		}
	}
}

func (h hostile) losesItsStream(t *testing.T, sup *supervisor.Supervisor, p *peer, request *prepared) {
	t.Helper()
	rec, _, allowed, err := request.intoLimit(t)
	assert.Equal(t, h.want.phase, rec.Phase)
	assert.EqualValues(t, 1, p.Accepted.Load(), "nothing is tried again")
	assert.Empty(t, sup.Leftovers())
	keepsSecrets(t, err, rec)
	assert.NoError(t, request.end())
	closing := time.Now()
	assert.NoError(t, sup.Close())
	p.sawClose(t, closing, allowed)
	h.want.suits(t, p)
}

// A body that is never taken, because the window stays shut, holds nobody.
func TestHTTP2WindowThatStaysShutHoldsNobody(t *testing.T) {
	sup := realWorld(t, supervisor.WithPolicy(timeoutpolicy.Fixed(patience)))
	upload := func(f *resources.Fetch, _ string) { f.Method, f.Body = "POST", plenty }
	h := hostile{streamed(func(*stream) {}), fetching("https://ADDR/", upload), running.unheard(), "h2"}
	p, request := h.prepare(t, sup)
	h.losesItsStream(t, sup, p, request)
}
