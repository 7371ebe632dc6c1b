package tests

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/actors"
	"curfew.example/resources"
	"curfew.example/resources/resourcetest"
	"curfew.example/supervisor"
	"curfew.example/tests/peers"
	"curfew.example/timeoutpolicy"
)

// hostile is one fault: a script, by what a client meets it, and what has to come of it.
type hostile struct {
	script peers.Script
	run    client
	want   fate
	over   string // tls, h2, unix: what the script's connection is made of; empty is tcp
}

// client makes ready to use a peer in its way. The peer's TLS, where it has any, is trusted.
type client func(ctx context.Context, sup *supervisor.Supervisor, addr string, trust *resources.TLS) (*prepared, error)

// prepared is a request that can be made, and what is left to do when it has been.
type prepared struct {
	do  func(context.Context, ...supervisor.Option) error
	end func() error
}

// use makes r under sup.
func use[T any](sup *supervisor.Supervisor, r resources.Resource[T]) *prepared {
	do := func(ctx context.Context, options ...supervisor.Option) error {
		_, err := supervisor.Do(ctx, sup, r, options...)
		return err
	}
	return &prepared{do, func() error { return nil }}
}

// fate is how a request has to end: in an expiry in a phase, or by itself.
type fate struct {
	phase  actors.Phase // NoPhase is no expiry
	is     error        // what errors.Is finds
	says   string       // what its text holds
	passes bool         // it ends well
	told   int64        // how often at least the peer has said something by then
	deaf   bool         // the peer has not heard all by then
	check  func(error) bool
}

func expiresWhile(p actors.Phase) fate { return fate{phase: p} }
func failsWith(err error) fate         { return fate{is: err} }
func failsSaying(text string) fate     { return fate{says: text} }

// failsAs is a failure by an error of type E.
func failsAs[E error]() fate {
	return fate{check: func(err error) bool {
		_, ok := errors.AsType[E](err)
		return ok
	}}
}

// A peer that drips has said something this often by the limit, and one that floods.
const (
	dripped = 3
	flooded = 100
)

// amid is the fate where the peer goes on talking.
func (f fate) amid(told int64) fate {
	f.told = told
	return f
}

// unheard is the fate where the peer does not listen.
func (f fate) unheard() fate {
	f.deaf = true
	return f
}

// suits checks that the peer has been what it was to be.
func (f fate) suits(t *testing.T, p *peer) {
	t.Helper()
	assert.GreaterOrEqual(t, p.Told.Load(), f.told, "how often the peer has said something")
	if f.deaf {
		assert.Less(t, p.Heard.Load(), int64(len(plenty)), "the peer was to hear nothing")
	}
}

// ofCall is the fate of a session's call: the session is open before its calls connect.
func (f fate) ofCall() fate {
	if f.phase == actors.Opening {
		f.phase = actors.Running
	}
	return f
}

var (
	opening = expiresWhile(actors.Opening)
	running = expiresWhile(actors.Running)
	passes  = fate{passes: true}
	tooMuch = failsAs[*resources.TooLargeError]()
	// Whether a reset is seen as what it is depends on what had come before it.
	broken = fate{check: func(err error) bool {
		return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.EPIPE)
	}}
)

// hidden is in every part of a request that nobody else is to see.
const hidden = "hunter2"

// fetching is a client that fetches url, where ADDR is the peer's address.
func fetching(url string, change ...func(f *resources.Fetch, addr string)) client {
	return func(_ context.Context, sup *supervisor.Supervisor, addr string, trust *resources.TLS) (*prepared, error) {
		f := resources.Fetch{URL: strings.ReplaceAll(url, "ADDR", addr), TLS: trust, BodyMaxBytes: 1 << 20}
		for _, c := range change {
			c(&f, addr)
		}
		return use(sup, f), nil
	}
}

// calling is a client that makes one XML-RPC call in a session of its own.
func calling(url string, change ...func(x *resources.XMLRPC, addr string)) client {
	return func(ctx context.Context, sup *supervisor.Supervisor, addr string, trust *resources.TLS) (*prepared, error) {
		x := resources.XMLRPC{URL: strings.ReplaceAll(url, "ADDR", addr), TLS: trust, BodyMaxBytes: 1 << 20}
		for _, c := range change {
			c(&x, addr)
		}
		session, err := supervisor.Open(ctx, sup, x)
		if err != nil {
			return nil, err
		}
		do := func(ctx context.Context, options ...supervisor.Option) error {
			reply := any("untouched")
			err := session.Call(supervisor.WithOptions(ctx, options...), "m", []any{hidden}, &reply)
			if err != nil && reply != "untouched" {
				return fmt.Errorf("a call that failed has stored something: %v", err)
			}
			return err
		}
		return &prepared{do, session.Close}, nil
	}
}

// talking is a client of a Socket.
func talking(scheme string, change ...func(s *resources.Socket)) client {
	return func(_ context.Context, sup *supervisor.Supervisor, addr string, trust *resources.TLS) (*prepared, error) {
		s := resources.Socket{Address: scheme + "://" + addr, Send: []byte(hidden + "\n")}
		if scheme == "tls" {
			s.TLS = trust
		}
		for _, c := range change {
			c(&s)
		}
		return use(sup, s), nil
	}
}

// plenty is more than the kernel takes from one side while the other reads nothing.
var plenty = make([]byte, 24<<20)

func plentyToSend(s *resources.Socket)    { s.Send = plenty }
func untilNewline(s *resources.Socket)    { s.ReadUntil = []byte("\n") }
func atMostAMegabyte(s *resources.Socket) { s.BodyMaxBytes = 1 << 20 }

func fetchThrough(scheme string) func(*resources.Fetch, string) {
	return func(f *resources.Fetch, addr string) { f.Proxy = scheme + "://user:" + hidden + "@" + addr }
}

func callThrough(scheme string) func(*resources.XMLRPC, string) {
	return func(x *resources.XMLRPC, addr string) { x.Proxy = scheme + "://user:" + hidden + "@" + addr }
}

const (
	okHead     = "HTTP/1.1 200 OK\r\n"
	longBody   = okHead + "Content-Length: 1000000\r\n\r\nhello"
	chunked    = okHead + "Transfer-Encoding: chunked\r\n\r\n"
	earlyHints = "HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n"
)

// zippedZeros is a small answer with a large body, made once.
var zippedZeros = sync.OnceValue(func() string { return peers.Zipped(peers.Repeated("\x00", 64<<20)) })

// exchanges are faults within an HTTP exchange, and what has to come of each.
func exchanges(redirected fate) map[string]struct {
	script peers.Script
	want   fate
} {
	type row = struct {
		script peers.Script
		want   fate
	}
	answers, drips, floods := peers.Answers, peers.Drips, peers.Floods
	return map[string]row{
		"stall before the answer":      {peers.Silent, running},
		"stall in the headers":         {answers(okHead+"X: ", peers.Silent), running},
		"stall in the body":            {answers(longBody, peers.Silent), running},
		"stall between chunks":         {answers(chunked+"5\r\nhello\r\n", peers.Silent), running},
		"stall in the trailers":        {answers(chunked+"0\r\nX: ", peers.Silent), running},
		"stall in an error's body":     {answers("HTTP/1.1 500 Oh\r\nContent-Length: 99\r\n\r\nwhy", peers.Silent), running},
		"stall in a gzip body":         {answers(okHead+"Content-Encoding: gzip\r\n\r\n\x1f\x8b", peers.Silent), running},
		"drip of headers":              {answers(okHead+"X: ", drips("x")), running.amid(dripped)},
		"drip of 103":                  {answers("", drips(earlyHints)), running.amid(dripped)},
		"drip of a body":               {answers(longBody, drips("x")), running.amid(dripped)},
		"drip of chunks":               {answers(chunked, drips("1\r\nx\r\n")), running.amid(dripped)},
		"reset before the answer":      {answers("", (*peers.Conn).Reset), broken},
		"reset in the headers":         {answers(okHead, (*peers.Conn).Reset), broken},
		"reset in the body":            {answers(longBody, (*peers.Conn).Reset), broken},
		"half-close before the answer": {answers("", (*peers.Conn).HalfClose), broken},
		"half-close in the headers":    {answers(okHead+"X: y", (*peers.Conn).HalfClose), broken},
		"half-close in the body":       {answers(longBody, (*peers.Conn).HalfClose), broken},
		"half-close in a chunk":        {answers(chunked+"5\r\nhe", (*peers.Conn).HalfClose), broken},
		"flood of headers":             {answers(okHead, floods("X: y\r\n")), tooMuch},
		"flood of one header":          {answers(okHead+"X: ", floods("x")), tooMuch},
		"flood of 103":                 {answers("", floods(earlyHints)), tooMuch},
		"flood of body":                {answers(okHead+"\r\n", floods("x")), tooMuch},
		"flood of chunk extensions":    {answers(chunked, floods("1;"+strings.Repeat("x", 1000)+"\r\nx\r\n")), failsSaying("chunk")},
		"flood of trailers":            {answers(chunked+"0\r\n", floods("X: y\r\n")), failsSaying("trailer")},
		"gzip bomb":                    {answers(zippedZeros(), peers.Silent), tooMuch},
		"redirect loop":                {peers.Redirects, redirected},
		"garbage":                      {answers("", peers.Garbage), failsSaying("malformed")},
	}
}

// handshakes are faults before anything of an exchange is said, under TLS.
func handshakes() map[string]struct {
	script peers.Script
	want   fate
} {
	type row = struct {
		script peers.Script
		want   fate
	}
	return map[string]row{
		"TLS stall":             {peers.Silent, opening},
		"TLS stall in a record": {peers.Says("\x16\x03\x03\x40\x00\x02", peers.Silent), opening},
		"TLS drip":              {peers.Says("\x16\x03\x03\x40\x00", peers.Drips("\x02")), opening.amid(dripped)},
		"TLS reset":             {peers.ResetAtOnce, broken},
		"TLS half-close":        {peers.HalfCloseAtOnce, broken},
		"TLS garbage":           {peers.Garbage, failsSaying("tls")},
		"TLS flood":             {peers.Floods("\x16\x03\x03\x00\x04\x00\x00\x00\x00"), failsSaying("tls")},
	}
}

// proxies are faults of a proxy that is asked for a tunnel.
func proxies() map[string]struct {
	script peers.Script
	want   fate
} {
	type row = struct {
		script peers.Script
		want   fate
	}
	const granted = "HTTP/1.1 200 go on\r\n"
	return map[string]row{
		"CONNECT stall":            {peers.Silent, opening},
		"CONNECT stall in headers": {peers.Answers(granted+"X: ", peers.Silent), opening},
		"CONNECT drip":             {peers.Answers(granted+"X: ", peers.Drips("x")), opening.amid(dripped)},
		"CONNECT reset":            {peers.Answers("", (*peers.Conn).Reset), broken},
		"CONNECT half-close":       {peers.Answers("", (*peers.Conn).HalfClose), broken},
		"CONNECT flood of headers": {peers.Answers(granted, peers.Floods("X: y\r\n")), fate{}},
		"CONNECT flood of 103":     {peers.Answers("", peers.Floods(earlyHints)), fate{}},
		"CONNECT refused":          {peers.Answers("HTTP/1.1 407 "+hidden+"\r\nContent-Length: 0\r\n\r\n", peers.Silent), failsSaying("407")},
		"CONNECT garbage":          {peers.Garbage, failsSaying("malformed")},
		"CONNECT, then TLS stall":  {peers.Answers(granted+"\r\n", peers.Silent), opening},
		"CONNECT, then TLS drip":   {peers.Answers(granted+"\r\n", peers.Hears(1, peers.Says("\x16\x03\x03\x40\x00", peers.Drips("\x02")))), opening.amid(dripped)},
		"CONNECT, then TLS reset":  {peers.Answers(granted+"\r\n", (*peers.Conn).Reset), broken},
	}
}

// streams are faults of a peer that is spoken to by a Socket until its end.
func streams() map[string]hostile {
	all := make(map[string]hostile)
	for _, scheme := range []string{"tcp", "tls", "unix"} {
		for name, h := range map[string]hostile{
			"stall":                      {peers.Silent, talking(scheme), running, scheme},
			"stall in the answer":        {peers.Says("he", peers.Silent), talking(scheme, untilNewline), running, scheme},
			"drip":                       {peers.Drips("x"), talking(scheme), running.amid(dripped), scheme},
			"flood":                      {peers.Floods("x"), talking(scheme, atMostAMegabyte), tooMuch, scheme},
			"half-close":                 {peers.Says("all", (*peers.Conn).HalfClose), talking(scheme), passes, scheme},
			"half-close in the answer":   {peers.Says("he", (*peers.Conn).HalfClose), talking(scheme, untilNewline), failsWith(io.ErrUnexpectedEOF), scheme},
			"never reads":                {neverReads, talking(scheme, plentyToSend), running.unheard(), scheme},
			"half-close and never reads": {halfClosesAndNeverReads, talking(scheme, plentyToSend), running.unheard(), scheme},
		} {
			all["socket, "+scheme+", "+name] = h
		}
	}
	all["socket, tcp, reset"] = hostile{peers.ResetAtOnce, talking("tcp"), broken, ""}
	all["socket, tcp, reset in the answer"] = hostile{peers.Says("he", (*peers.Conn).Reset), talking("tcp", untilNewline), broken, ""}
	return all
}

// neverReads is a peer whose window stays shut until it is closed.
func neverReads(c *peers.Conn) { c.Hold() }

func halfClosesAndNeverReads(c *peers.Conn) {
	c.HalfClose()
	c.Hold()
}

// attacks is every fault for every kind and every phase in which it can be.
func attacks() map[string]hostile {
	all := streams()
	user := "user:" + hidden + "@"
	path := "/" + hidden + "?q=" + hidden
	for name, row := range exchanges(failsWith(resources.ErrRedirects)) {
		all["fetch, "+name] = hostile{row.script, fetching("http://" + user + "ADDR" + path), row.want, ""}
	}
	for name, row := range exchanges(failsAs[*resources.XMLRPCProtocolError]()) {
		all["xmlrpc, "+name] = hostile{row.script, calling("http://" + user + "ADDR" + path), row.want, ""}
	}
	for _, name := range []string{"stall before the answer", "drip of a body", "reset in the body", "flood of headers", "half-close in the body"} {
		row := exchanges(fate{})[name]
		all["fetch over TLS, "+name] = hostile{row.script, fetching("https://ADDR" + path), row.want, "tls"}
		all["xmlrpc over TLS, "+name] = hostile{row.script, calling("https://ADDR" + path), row.want, "tls"}
		all["xmlrpc over a unix socket, "+name] = hostile{row.script, calling("unix://ADDR"), row.want, "unix"}
		all["fetch over a unix socket, "+name] = hostile{row.script, fetching("http://host/"+hidden, func(f *resources.Fetch, addr string) { f.Unix = addr }), row.want, "unix"}
	}
	for name, row := range handshakes() {
		all["fetch, "+name] = hostile{row.script, fetching("https://" + user + "ADDR" + path), row.want, ""}
		all["xmlrpc, "+name] = hostile{row.script, calling("https://" + user + "ADDR" + path), row.want.ofCall(), ""}
		all["socket, "+name] = hostile{row.script, talking("tls"), row.want, ""}
		all["fetch, to the proxy, "+name] = hostile{row.script, fetching("https://target.invalid"+path, fetchThrough("https")), row.want, ""}
	}
	for name, row := range proxies() {
		all["fetch, "+name] = hostile{row.script, fetching("https://target.invalid"+path, fetchThrough("http")), row.want, ""}
		all["xmlrpc, "+name] = hostile{row.script, calling("https://target.invalid"+path, callThrough("http")), row.want.ofCall(), ""}
	}
	for name, row := range map[string]hostile{
		"SOCKS stall":   {script: peers.Silent, want: opening},
		"SOCKS drip":    {script: peers.Says("\x05\x00\x05\x00\x00\x03\xff", peers.Drips("x")), want: opening.amid(dripped)},
		"SOCKS reset":   {script: peers.ResetAtOnce, want: broken},
		"SOCKS garbage": {script: peers.Garbage, want: failsSaying("socks")},
	} {
		all["fetch, "+name] = hostile{row.script, fetching("http://target.invalid"+path, fetchThrough("socks5")), row.want, ""}
		all["xmlrpc, "+name] = hostile{row.script, calling("http://target.invalid"+path, callThrough("socks5")), row.want.ofCall(), ""}
	}
	return all
}

func TestHostilePeerIsAnsweredOnTimeInEveryPhaseOfEveryKind(t *testing.T) {
	resourcetest.NothingLeft(t) // of those that expire, together
	for name, h := range attacks() {
		t.Run(name, func(t *testing.T) {
			if h.want.phase != actors.NoPhase {
				t.Parallel() // all that these do is wait
				sup := start(t, supervisor.WithPolicy(timeoutpolicy.Fixed(patience)))
				p, request := h.prepare(t, sup)
				h.expires(t, sup, p, request)
				return
			}
			sup := realWorld(t, supervisor.WithPolicy(timeoutpolicy.Fixed(patience)))
			_, request := h.prepare(t, sup)
			h.ends(t, sup, request)
		})
	}
}

// A cancellation takes the same way, whatever the phase.
func TestHostilePeerIsLeftAtOnceByWhoIsCancelled(t *testing.T) {
	resourcetest.NothingLeft(t) // of all together
	for name, h := range attacks() {
		if h.want.phase == actors.NoPhase {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel() // all they do is wait
			sup := start(t, supervisor.WithPolicy(timeoutpolicy.Fixed(patience)))
			_, request := h.prepare(t, sup)
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			const after = hangLimit / 5
			var rec supervisor.Receipt
			w := watch(after)
			time.AfterFunc(after, func() { cancel(errOuter) })
			err := request.do(ctx, supervisor.WithReceipt(&rec))
			w.stop(t)
			cancelled, ok := errors.AsType[*supervisor.Cancelled](err)
			require.True(t, ok, "%v", err)
			assert.ErrorIs(t, err, errOuter)
			assert.NoError(t, cancelled.Cleanup)
			assert.Empty(t, sup.Leftovers())
			keepsSecrets(t, err, &rec)
		})
	}
}

// prepare starts the peer, and makes ready the client's request to it.
func (h hostile) prepare(t *testing.T, sup *supervisor.Supervisor) (*peer, *prepared) {
	t.Helper()
	network, address := "tcp", "127.0.0.1:0"
	if h.over == "unix" {
		network, address = "unix", filepath.Join(t.TempDir(), "s")
	}
	l, err := net.Listen(network, address)
	require.NoError(t, err)
	var trust *resources.TLS
	if h.over == "tls" || h.over == "h2" {
		s := httptest.NewTLSServer(nil)
		defer s.Close()
		trust = &resources.TLS{RootCAs: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})}
		config := &tls.Config{Certificates: s.TLS.Certificates}
		if h.over == "h2" {
			config.NextProtos = []string{"h2"}
		}
		l = tls.NewListener(l, config)
	}
	p := &peer{peers.Serve(l, h.script)}
	t.Cleanup(p.Close)
	return p, h.run.ready(t, sup, p.Addr, trust)
}

// ready makes the request ready; the test's end ends it.
func (c client) ready(t *testing.T, sup *supervisor.Supervisor, addr string, trust *resources.TLS) *prepared {
	t.Helper()
	request, err := c(t.Context(), sup, addr, trust)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, request.end()) })
	return request
}

// expires runs the request into its limit.
func (h hostile) expires(t *testing.T, sup *supervisor.Supervisor, p *peer, request *prepared) {
	t.Helper()
	rec, due, allowed, err := request.intoLimit(t)
	assert.Equal(t, h.want.phase, rec.Phase)
	assert.NotEmpty(t, rec.Cleanup.Released, "the connection is in the receipt")
	assert.EqualValues(t, 1, p.Accepted.Load(), "nothing is tried again")
	assert.Empty(t, sup.Leftovers())
	p.Let()
	p.sawClose(t, due, allowed)
	h.want.suits(t, p)
	keepsSecrets(t, err, rec)
}

// intoLimit makes the request, which has to expire on time with nothing left.
func (r *prepared) intoLimit(t *testing.T) (rec *supervisor.Receipt, due time.Time, allowed time.Duration, err error) {
	t.Helper()
	rec = &supervisor.Receipt{}
	w := watch(hangLimit)
	err = r.do(t.Context(), supervisor.Within(hangLimit), supervisor.WithReceipt(rec))
	allowed = w.stop(t)
	assert.NoError(t, isExpired(t, err).Cleanup)
	assert.Equal(t, actors.Expired, rec.Outcome)
	assert.LessOrEqual(t, rec.Lateness, allowed)
	assert.Empty(t, rec.Leftover)
	return rec, w.due, allowed, err
}

// ends runs the request to its own end, well within its limit.
func (h hostile) ends(t *testing.T, sup *supervisor.Supervisor, request *prepared) {
	t.Helper()
	var rec supervisor.Receipt
	err := request.do(t.Context(), supervisor.WithReceipt(&rec))
	assert.Less(t, rec.Used, patience/2)
	assert.Empty(t, rec.Leftover)
	assert.Empty(t, sup.Leftovers())
	if h.want.passes {
		require.NoError(t, err)
		return
	}
	require.Error(t, err)
	assert.Equal(t, actors.Failed, rec.Outcome)
	if h.want.is != nil {
		assert.ErrorIs(t, err, h.want.is)
	}
	if h.want.check != nil {
		assert.True(t, h.want.check(err), "%T: %v", err, err)
	}
	assert.ErrorContains(t, err, h.want.says)
	keepsSecrets(t, err, &rec)
}

// keepsSecrets checks that neither the error nor the receipt shows what was hidden.
func keepsSecrets(t *testing.T, err error, rec *supervisor.Receipt) {
	t.Helper()
	assert.NotContains(t, err.Error(), hidden)
	doc, err := json.Marshal(rec)
	require.NoError(t, err)
	assert.NotContains(t, string(doc), hidden)
}

func TestDatagramThatNobodyAnswersExpires(t *testing.T) {
	sup := realWorld(t)
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, expired := expires(t, sup, resources.Socket{Address: "udp://" + l.LocalAddr().String()}, hangLimit)
	assert.Equal(t, actors.Running, expired.Receipt.Phase)
}

func TestFullBacklogExpiresWhileOpening(t *testing.T) {
	resourcetest.NothingLeft(t)
	addr, end, err := peers.FullBacklog()
	if err != nil {
		t.Skipf("SKIPPED: no backlog can be filled: %v", err)
	}
	t.Cleanup(end)
	sup := start(t, supervisor.WithPolicy(timeoutpolicy.Fixed(patience)))
	for name, c := range map[string]hostile{
		"fetch":              {run: fetching("http://ADDR"), want: opening},
		"fetch over TLS":     {run: fetching("https://ADDR"), want: opening},
		"fetch, HTTP proxy":  {run: fetching("https://target.invalid", fetchThrough("http")), want: opening},
		"fetch, SOCKS proxy": {run: fetching("https://target.invalid", fetchThrough("socks5")), want: opening},
		"xmlrpc":             {run: calling("http://ADDR"), want: opening.ofCall()},
		"xmlrpc over TLS":    {run: calling("https://ADDR"), want: opening.ofCall()},
		"socket, tcp":        {run: talking("tcp"), want: opening},
		"socket, tls":        {run: talking("tls"), want: opening},
	} {
		t.Run(name, func(t *testing.T) {
			rec, _, _, _ := c.run.ready(t, sup, addr, nil).intoLimit(t)
			assert.Equal(t, c.want.phase, rec.Phase)
			assert.Empty(t, sup.Leftovers())
		})
	}
}
