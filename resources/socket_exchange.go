package resources

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// datagramMaxBytes is the longest payload of a UDP datagram over IPv4 (RFC 768).
const datagramMaxBytes = 65507

// socketChunk is how much is read or written at a time.
const socketChunk = 32 << 10

// socketExchange is one use of a connection that is open. The goroutine of Run receives; one
// more sends.
type socketExchange struct {
	Socket
	conn     net.Conn
	held     *Held
	datagram bool
	target   string

	answer   chunks // received so far, when there is no Out
	tail     []byte // the end of what was received, in which ReadUntil may begin
	received int64
	sent     atomic.Int64
}

// result is what there is so far. It belongs to the goroutine that receives.
func (x *socketExchange) result() *SocketResult {
	r := &SocketResult{
		SentBytes:     x.sent.Load(),
		ReceivedBytes: x.received,
		RemoteAddr:    x.conn.RemoteAddr().String(),
	}
	if x.Out == nil && x.received > 0 {
		r.Received = x.answer.join()
	}
	return r
}

// run sends and receives at the same time: a peer that answers before it has read
// everything would otherwise block both sides. When it returns, nothing sends any more.
func (x *socketExchange) run(ctx context.Context) error {
	out := wakeWriter(x.Out)
	defer out.rest()
	defer context.AfterFunc(ctx, func() { out.wake() })()

	s := &socketSender{socketExchange: x, in: wakeReader(x.In), sendOut: make(chan struct{}), done: make(chan struct{})}
	go s.run() // waited for by stop

	err := x.receive()
	if err == nil {
		// The release closes the connection under a Send that hangs.
		<-s.sendOut
	}
	sendErr := s.stop()
	if sendErr != nil && (err == nil || isClosing(err)) {
		return sendErr
	}
	return err
}

// receive reads the answer.
func (x *socketExchange) receive() error {
	if x.datagram {
		return x.receiveDatagram()
	}
	buf := make([]byte, socketChunk)
	for {
		room := len(buf)
		if x.ReadBytes > 0 {
			room = int(min(int64(room), x.ReadBytes-x.received))
		}
		n, err := x.conn.Read(buf[:room])
		if n > 0 {
			ended, err := x.take(buf[:n])
			if ended || err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF && (x.ReadBytes > 0 || len(x.ReadUntil) > 0):
			return fmt.Errorf("the answer ended after %d bytes: %w", x.received, io.ErrUnexpectedEOF)
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("receive: %w", err)
		}
	}
}

func (x *socketExchange) receiveDatagram() error {
	// One byte more than fits, so that nothing is cut unseen.
	buf := make([]byte, datagramMaxBytes+1)
	n, err := x.conn.Read(buf)
	if err != nil {
		return fmt.Errorf("receive: %w", err)
	}
	_, err = x.take(buf[:n])
	return err
}

// take adds p to the answer, up to the answer's end, and reports whether it has ended.
func (x *socketExchange) take(p []byte) (ended bool, err error) {
	x.held.Progress()
	p, ended = x.untilEnd(p)
	tooLarge := false
	if limit := x.limit(); limit > 0 && x.received+int64(len(p)) > limit {
		p, tooLarge = p[:limit-x.received], true
	}
	if err := x.put(p); err != nil {
		return false, err
	}
	if tooLarge {
		return false, socketTooLarge{&TooLargeError{What: "answer", MaxBytes: x.limit(), Target: x.target}}
	}
	return ended || x.ReadBytes > 0 && x.received >= x.ReadBytes, nil
}

// untilEnd cuts p behind ReadUntil, which may have begun in what came before.
func (x *socketExchange) untilEnd(p []byte) ([]byte, bool) {
	if len(x.ReadUntil) == 0 {
		return p, false
	}
	seen := append(x.tail, p...)
	if i := bytes.Index(seen, x.ReadUntil); i >= 0 {
		return p[:i+len(x.ReadUntil)-len(x.tail)], true
	}
	keep := min(len(seen), len(x.ReadUntil)-1)
	x.tail = bytes.Clone(seen[len(seen)-keep:])
	return p, false
}

// put stores a part of the answer, or passes it on.
func (x *socketExchange) put(p []byte) error {
	if x.Out == nil {
		x.answer.add(p)
		x.received += int64(len(p))
		return nil
	}
	n, err := x.Out.Write(p)
	x.received += int64(n)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return fmt.Errorf("write the answer to Out: %w", err)
	}
	return nil
}

// limit is the most that may be received; 0 is no limit.
func (x *socketExchange) limit() int64 {
	if x.Out != nil {
		return x.BodyMaxBytes
	}
	return cmp.Or(x.BodyMaxBytes, max(socketMaxBytes, x.ReadBytes))
}

// socketSender is the sending half of an exchange, on a goroutine of its own.
type socketSender struct {
	*socketExchange
	in      *wakeable
	sendOut chan struct{} // closed when Send is out, or cannot get out
	done    chan struct{} // closed when the goroutine has ended; err is valid then
	err     error         // of In or of sending Send: what the exchange cannot do without

	mu      sync.Mutex
	ended   bool // the exchange is over: what In still gives is dropped
	reading bool // a Read of In is out
}

func (s *socketSender) run() {
	Guard(s.sendAll, func(err error) {
		if _, ok := errors.AsType[*Panicked](err); ok { // In's own code
			s.mu.Lock()
			s.reading = false
			s.mu.Unlock()
			_ = s.fail(err)
		}
		s.err = err
		close(s.done)
	})
}

func (s *socketSender) sendAll() error {
	sent := sync.OnceFunc(func() { close(s.sendOut) })
	defer sent()
	if s.datagram {
		if s.In != nil {
			// The datagram goes when In ends, for which an answer does not wait.
			sent()
		}
		return s.sendDatagram()
	}
	if err := s.write(s.Send); err != nil {
		return err
	}
	sent()
	if s.In != nil {
		whole, err := s.copyIn(s.writeStream)
		if err != nil || !whole {
			return err
		}
	}
	s.halfClose()
	return nil
}

// sendDatagram sends Send and all of In as one datagram.
func (s *socketSender) sendDatagram() error {
	datagram := bytes.Clone(s.Send)
	if s.In != nil {
		whole, err := s.copyIn(func(p []byte) error {
			datagram = append(datagram, p...)
			if len(datagram) > datagramMaxBytes {
				return s.fail(errors.New("what In holds is longer than a datagram can be"))
			}
			return nil
		})
		if err != nil || !whole {
			return err
		}
	}
	return s.writeOnce(datagram)
}

// copyIn gives what In reads to take, until In ends, take stops it, or the exchange is
// over; whole says that In has ended.
func (s *socketSender) copyIn(take func([]byte) error) (whole bool, err error) {
	buf := make([]byte, socketChunk)
	for {
		n, err, ok := s.readIn(buf)
		if !ok {
			return false, nil
		}
		if n > 0 {
			if err := take(buf[:n]); err != nil {
				return false, unlessStopped(err)
			}
		}
		if err == io.EOF {
			return true, nil
		}
		if err != nil {
			return false, s.fail(fmt.Errorf("read In: %w", err))
		}
	}
}

// errPeerStopped ends the copying of In without being an error: a peer that takes no
// more may still answer, and its answer's end is the exchange's.
var errPeerStopped = errors.New("the peer takes no more")

func unlessStopped(err error) error {
	if err == errPeerStopped {
		return nil
	}
	return err
}

func (s *socketSender) writeStream(p []byte) error {
	if s.write(p) != nil {
		return errPeerStopped
	}
	return nil
}

// readIn reads from In; ok is false once the exchange is over.
func (s *socketSender) readIn(buf []byte) (n int, err error, ok bool) {
	s.mu.Lock()
	s.reading = !s.ended
	ended := s.ended
	s.mu.Unlock()
	if ended {
		return 0, nil, false
	}
	n, err = s.In.Read(buf)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reading = false
	return n, err, !s.ended
}

// write sends p in chunks, each of which is progress.
func (s *socketSender) write(p []byte) error {
	for len(p) > 0 {
		n := min(socketChunk, len(p))
		if err := s.writeOnce(p[:n]); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// writeOnce sends p, which may be empty, in one call: a datagram is one.
func (s *socketSender) writeOnce(p []byte) error {
	n, err := s.conn.Write(p)
	s.sent.Add(int64(n))
	if err != nil {
		return fmt.Errorf("send: %w", err)
	}
	s.held.Progress()
	return nil
}

// fail ends an exchange that cannot go on: the receiving half comes back because its
// connection is closed.
func (s *socketSender) fail(err error) error {
	_ = s.conn.Close()
	return err
}

// halfClose ends the sending side. Its error is not needed: a connection that cannot
// do it is broken, which the receiving side notices.
func (s *socketSender) halfClose() {
	if c, ok := s.conn.(interface{ CloseWrite() error }); ok && s.HalfClose {
		_ = c.CloseWrite()
	}
}

// stop ends the sending and returns its error. The goroutine is waited for, unless it
// is in a Read of In that cannot be woken: it then ends with that Read, and touches
// nothing but its own buffer.
func (s *socketSender) stop() error {
	_ = s.conn.Close()
	s.mu.Lock()
	s.ended = true
	reading := s.reading
	s.mu.Unlock()
	defer s.in.rest()
	if reading && !s.in.wake() {
		return nil
	}
	<-s.done
	return s.err
}

// wakeable is a reader or writer of the caller's, whose blocked call can be woken if it
// has a deadline to set. Afterwards it is as it was.
type wakeable struct {
	set func(time.Time) error // nil when there is none

	mu    sync.Mutex
	over  bool
	woken bool
}

// longAgo is a deadline that has passed, whatever the clock says.
var longAgo = time.Unix(1, 0)

func wakeReader(r io.Reader) *wakeable {
	if d, ok := r.(interface{ SetReadDeadline(time.Time) error }); ok {
		return &wakeable{set: d.SetReadDeadline}
	}
	return &wakeable{}
}

func wakeWriter(w io.Writer) *wakeable {
	if d, ok := w.(interface{ SetWriteDeadline(time.Time) error }); ok {
		return &wakeable{set: d.SetWriteDeadline}
	}
	return &wakeable{}
}

// wake ends a call that blocks, and reports whether it could.
func (w *wakeable) wake() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over || w.set == nil {
		return false
	}
	w.woken = w.set(longAgo) == nil
	return w.woken
}

// rest takes the deadline away again; from now on wake does nothing.
func (w *wakeable) rest() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	if w.woken {
		_ = w.set(time.Time{})
	}
}
