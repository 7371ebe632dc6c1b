package resources

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// pipeIdle is how long an output pipe is still read without anything coming,
	// once the processes that are known have gone. What those had written is in the
	// pipe by then, so it only has to outlast the scheduler.
	pipeIdle = 20 * time.Millisecond

	// pipeRest is how much is still read then, at most: no pipe holds more, so
	// whatever comes beyond it was written by somebody else.
	pipeRest = 1 << 20

	// tailMax is how much of the end of standard error an ExitError shows.
	tailMax = 2 << 10
)

// pumpRoom holds the buffers that bytes move through: most commands say little, and would
// leave the collector 32 KiB for each stream.
var pumpRoom = sync.Pool{New: func() any { return new([pumpRoomBytes]byte) }}

const pumpRoomBytes = 32 << 10

// streams are the three standard streams of one command: our ends, and the ends that
// the program gets. One goroutine, Run's, uses it.
type streams struct {
	child  [3]*os.File // for the program; nil is the null device
	ours   []*os.File  // of child, those to be closed here once it has them
	stdin  *input      // nil when the program reads a file or the null device
	stdout *output     // nil when the program writes to a file
	stderr *output     // nil too when it shares stdout's
	shared bool        // it does

	// kept is the piece that stands for whoever feeds standard input. It is kept
	// before the process, and so released after it: a source that blocks must not
	// hold up the ladder.
	kept *Piece
}

// open makes the pipes that c needs. Nothing is running yet.
func (c Command) open(name string, held *Held) (*streams, error) {
	s := &streams{}
	if err := s.make(c, held); err != nil {
		s.abandon()
		return nil, err
	}
	s.kept = &Piece{What: "standard input of " + name, Close: s.stdin.close}
	return s, nil
}

func (s *streams) make(c Command, held *Held) (err error) {
	if err := s.openStdin(c, held); err != nil {
		return err
	}
	limit := cmp.Or(c.OutputMaxBytes, DefaultOutputMaxBytes)
	if s.stdout, err = s.openOutput(1, c.Stdout, limit, held); err != nil {
		return err
	}
	if s.stdout != nil && sameWriter(c.Stdout, c.Stderr) {
		s.child[2], s.shared = s.child[1], true
		return nil
	}
	s.stderr, err = s.openOutput(2, c.Stderr, limit, held)
	return err
}

func (s *streams) openStdin(c Command, held *Held) error {
	from := c.StdinFrom
	if f, ok := from.(*os.File); ok {
		s.child[0] = f
		return nil
	}
	if from == nil {
		if len(c.Stdin) == 0 {
			return nil
		}
		from = bytes.NewReader(c.Stdin)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	s.child[0], s.ours = r, append(s.ours, r)
	s.stdin = &input{w: w, from: from, moved: held.Progress, done: make(chan struct{})}
	return nil
}

// openOutput makes the pipe of one output; none when it goes straight to a file.
func (s *streams) openOutput(fd int, to io.Writer, limit int64, held *Held) (*output, error) {
	if f, ok := to.(*os.File); ok {
		s.child[fd] = f
		return nil, nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s.child[fd], s.ours = w, append(s.ours, w)
	o := &output{r: r, to: to, writer: wakeWriter(to), moved: held.Progress, done: make(chan struct{})}
	o.kept.max = limit
	return o, nil
}

// sameWriter reports whether both outputs go to one writer.
func sameWriter(a, b io.Writer) bool {
	// Types that cannot be compared panic, and are two writers.
	defer func() { _ = recover() }()
	return a != nil && a == b
}

// closeChild closes the program's ends here, once it has them or will not start.
func (s *streams) closeChild() {
	for _, f := range s.ours {
		_ = f.Close()
	}
	s.ours = nil
}

// abandon closes everything, where nothing was started.
func (s *streams) abandon() {
	s.closeChild()
	s.stdin.give()
	for _, o := range s.outputs() {
		_ = o.r.Close()
	}
}

func (s *streams) outputs() []*output {
	var all []*output
	for _, o := range []*output{s.stdout, s.stderr} {
		if o != nil {
			all = append(all, o)
		}
	}
	return all
}

// run starts to move bytes. The goroutines call the caller's readers and writers, so a
// panic is contained. They are waited for in drain, the input's by its piece as well.
func (s *streams) run() {
	s.closeChild()
	if i := s.stdin; i != nil {
		i.running.Store(true)
		go Guard(i.pump, func(err error) {
			i.err = err
			close(i.done)
		})
	}
	for _, o := range s.outputs() {
		go Guard(o.pump, func(err error) {
			o.err = err
			close(o.done)
		})
	}
}

// drain ends the streams after the processes: it takes out what is in the outputs'
// pipes, and stops when they are empty, though somebody may still hold them open. Only a
// writer of the caller's that blocks can hold it up: until ctx ends, or for good where it
// cannot be woken. It reports whether all was handed on.
func (s *streams) drain(ctx context.Context, held *Held) bool {
	s.stdin.end()
	for _, o := range s.outputs() {
		o.end()
	}
	whole := true
	for _, o := range s.outputs() {
		whole = o.wait(ctx) && whole
	}
	if s.stdin.over() {
		held.Drop(s.kept)
	}
	return whole
}

func (s *streams) fill(r *CommandResult) {
	if o := s.stdout; o != nil {
		r.Stdout, r.StdoutDropped = o.kept.buf, o.kept.dropped
	}
	if o := s.stderr; o != nil {
		r.Stderr, r.StderrDropped = o.kept.buf, o.kept.dropped
	}
	r.Truncated = r.StdoutDropped+r.StderrDropped > 0
	for _, o := range s.outputs() {
		r.PipeHeld = r.PipeHeld || o.held
	}
}

func (s *streams) stderrTail() []byte {
	o := s.stderr
	if s.shared {
		o = s.stdout
	}
	if o == nil {
		return nil
	}
	return o.tail
}

// failed is what went wrong with the caller's reader and writers.
func (s *streams) failed() error {
	var errs []error
	if i := s.stdin; i != nil && isClosed(i.done) {
		errs = append(errs, i.err)
	}
	for _, o := range s.outputs() {
		errs = append(errs, o.err)
	}
	return errors.Join(errs...)
}

// output moves one output of the program to where it goes. Its fields are pump's until
// done is closed.
type output struct {
	r      *os.File
	to     io.Writer // nil: kept
	writer *wakeable // to
	moved  func()
	done   chan struct{}

	ending atomic.Bool  // the processes have gone
	writes atomic.Int64 // begun and ended: odd while to is in one
	kept   capture
	tail   []byte
	held   bool  // given up while somebody had the pipe open
	err    error // pump's
}

// pump reads until the pipe is at its end, or given up, and returns the error of the
// caller's writer.
func (o *output) pump() error {
	defer o.r.Close()
	room := pumpRoom.Get().(*[pumpRoomBytes]byte)
	defer pumpRoom.Put(room)
	buf := room[:]
	rest := pipeRest
	for {
		// A read that times out before this goroutine knew of the end was cut
		// short: after a slow Write, say. The pipe has its whole idle time then.
		last := o.ending.Load()
		if last {
			_ = o.r.SetReadDeadline(time.Now().Add(pipeIdle))
		}
		n, err := o.r.Read(buf)
		if last {
			rest -= n
		}
		if n > 0 {
			// When nobody wants more the pipe is closed, and the program told so
			// by SIGPIPE.
			if err := o.take(buf[:n]); err != nil {
				return err
			}
		}
		timeout := errors.Is(err, os.ErrDeadlineExceeded)
		if (timeout && last) || rest <= 0 {
			o.held = true
			return nil
		}
		if err != nil && !timeout {
			return nil
		}
	}
}

// take hands on what has been read.
func (o *output) take(p []byte) error {
	o.moved()
	o.tail = append(o.tail, p[max(0, len(p)-tailMax):]...)
	o.tail = o.tail[max(0, len(o.tail)-tailMax):]
	if o.to == nil {
		o.kept.add(p)
		return nil
	}
	o.writes.Add(1)
	n, err := o.to.Write(p)
	o.writes.Add(1)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return err
}

// wait returns when pump has ended. Once ctx has ended a Write that takes longer than
// pipeIdle is woken, if it can be; then it reports false.
func (o *output) wait(ctx context.Context) bool {
	defer o.writer.rest()
	select {
	case <-o.done:
		return true
	case <-ctx.Done():
	}
	look := time.NewTicker(pipeIdle)
	defer look.Stop()
	for before := o.writes.Load(); ; {
		select {
		case <-o.done:
			return true
		case <-look.C:
		}
		now := o.writes.Load()
		if now == before && now%2 == 1 {
			woken := o.writer.wake()
			<-o.done
			return !woken
		}
		before = now
	}
}

// end says that what is in the pipe now is all there will be.
func (o *output) end() {
	o.ending.Store(true)
	_ = o.r.SetReadDeadline(time.Now().Add(pipeIdle))
}

// capture keeps the first max bytes and counts the others.
type capture struct {
	max     int64
	buf     []byte
	dropped int64
}

func (c *capture) add(p []byte) {
	room := min(int64(len(p)), c.max-int64(len(c.buf)))
	c.buf = append(c.buf, p[:room]...)
	c.dropped += int64(len(p)) - room
}

// input feeds the program's standard input. A nil input feeds nothing.
type input struct {
	w       *os.File
	from    io.Reader
	moved   func()
	running atomic.Bool
	given   atomic.Bool   // let go of: the source's errors are of our making
	done    chan struct{} // closed when pump has ended
	err     error         // pump's, once done is closed
}

// pump copies until the source ends, or the program wants no more: that it does not
// read, or closes the pipe, is no failure. It returns the error of the source.
func (i *input) pump() error {
	defer i.w.Close()
	room := pumpRoom.Get().(*[pumpRoomBytes]byte)
	defer pumpRoom.Put(room)
	buf := room[:]
	for {
		n, err := i.from.Read(buf)
		if n > 0 {
			if _, err := i.w.Write(buf[:n]); err != nil {
				return nil
			}
			i.moved()
		}
		switch {
		case err == io.EOF || (err != nil && i.given.Load()):
			return nil
		case err != nil:
			return err
		}
	}
}

// give lets go of the source and of the pipe. It may be called more than once, and
// beside pump.
func (i *input) give() {
	if i == nil {
		return
	}
	i.given.Store(true)
	_ = i.w.Close()
	if c, ok := i.from.(io.Closer); ok {
		_ = c.Close()
	}
}

// end stops the feeding, at most pipeIdle long.
func (i *input) end() {
	if i == nil {
		return
	}
	i.give()
	select {
	case <-i.done:
	case <-time.After(pipeIdle):
	}
}

// over reports whether nobody feeds any more.
func (i *input) over() bool {
	return i == nil || !i.running.Load() || isClosed(i.done)
}

// close is the piece's: it stops the feeding and waits for it, if it has begun.
func (i *input) close() error {
	if i == nil {
		return nil
	}
	i.give()
	if i.running.Load() {
		<-i.done
	}
	return nil
}
