package resources

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const coprocessKind = "coprocess"

// Coprocess is a session with a program that is spoken to over its standard input and
// output, line by line: bc, an interpreter, a filter that answers. It is plain data but for
// Command.Stderr, and may be opened many times and by many goroutines.
//
// Calls take turns. One that fails or is cut short ends the program, with all that it has
// started, because what it says next may belong to nobody; the next call starts it anew, as
// it does when the program has ended, or has spoken unasked, between two calls.
type Coprocess struct {
	// Command is the program. Its Stdin, StdinFrom and Stdout stay empty: they are the
	// session's. Standard error is kept for errors, unless it has a writer. A program that
	// holds its output back when it is no terminal has to be told not to (python3 -u).
	Command Command

	// Delimiter ends each line, ours and the program's. Zero is '\n'.
	Delimiter byte

	// ReplyMaxBytes is how long one reply may be, delimiters not counted; 0 is 1 MiB.
	// A longer one is a *TooLargeError.
	ReplyMaxBytes int64
}

// Spec checks the fields. Target and Endpoint are the program's name.
func (c Coprocess) Spec() (Spec, error) {
	bad := func(field, why string) (Spec, error) { return Spec{}, &Invalid{coprocessKind, field, why} }
	switch m := c.Command; {
	case m.Stdin != nil || m.StdinFrom != nil:
		return bad("Command.Stdin", "is the session's")
	case m.Stdout != nil:
		return bad("Command.Stdout", "is the session's")
	case m.Foreground:
		return bad("Command.Foreground", "a coprocess has no terminal")
	case c.ReplyMaxBytes < 0:
		return bad("ReplyMaxBytes", "is negative")
	}
	spec, err := c.Command.Spec()
	if inv, ok := errors.AsType[*Invalid](err); ok {
		return bad("Command."+inv.Field, inv.Why)
	}
	spec.Kind = coprocessKind
	return spec, err
}

// Traits says that calls take turns, and that what happened since the last is looked at.
func (c Coprocess) Traits() SessionTraits { return SessionTraits{CheckAfter: time.Nanosecond} }

// Check fails when the program has ended, or has spoken unasked.
func (c Coprocess) Check(_ context.Context, h *Conversation) error { return h.quiet() }

// Face returns the session's methods over s.
func (c Coprocess) Face(s Caller[*Conversation]) *CoprocessSession {
	return &CoprocessSession{talk{coprocessKind, c.delimiter(), s}}
}

func (c Coprocess) delimiter() byte { return cmp.Or(c.Delimiter, '\n') }

// Open starts the program.
func (c Coprocess) Open(ctx context.Context, held *Held) (*Conversation, error) {
	stdin, to, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	from, stdout, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, stdin.Close(), to.Close())
	}
	m := c.Command
	m.StdinFrom, m.Stdout = stdin, stdout
	// The program outlives the opening; what ends it is in held.
	life := context.WithoutCancel(ctx)
	p, streams, err := m.begin(life, held)
	_, _ = stdin.Close(), stdout.Close()
	if err != nil {
		_, _ = to.Close(), from.Close()
		return nil, err
	}
	h := newConversation(p.name, c.ReplyMaxBytes, pipes{from, to})
	// Ends with the program.
	go func() {
		defer close(h.ended)
		_, h.exit = m.attend(life, held, p, streams)
	}()
	// Ends with the program's output, or when that is closed by the end of the session.
	go h.listen(c.delimiter())
	return h, held.Keep(&Piece{What: "pipes of " + p.name, Close: h.close})
}

// pipes are our ends of those to a program.
type pipes struct{ from, to *os.File }

func (p pipes) Read(b []byte) (int, error)  { return p.from.Read(b) }
func (p pipes) Write(b []byte) (int, error) { return p.to.Write(b) }
func (p pipes) CloseWrite() error           { return p.to.Close() }
func (p pipes) Close() error                { return p.from.Close() }

// Conversation is the handle of a Coprocess, a program and the pipes to it, and of a
// Connection.
type Conversation struct {
	end    io.ReadWriteCloser
	target string
	max    int64 // bytes of a reply

	lines chan string // what it says
	busy  atomic.Bool // a call is under way
	once  sync.Once   // over closing
	done  error       // of close
	heard error       // why there are no more lines, once silent is closed
	exit  error       // how it ended, once ended is closed

	closing, silent, ended chan struct{}
}

func newConversation(target string, max int64, end io.ReadWriteCloser) *Conversation {
	return &Conversation{
		end: end, target: target, max: cmp.Or(max, DefaultOutputMaxBytes),
		lines: make(chan string, 1), closing: make(chan struct{}), ended: make(chan struct{}), silent: make(chan struct{}),
	}
}

// partingWait is how long a program whose input has ended may take to end by itself,
// before its ladder of signals begins.
const partingWait = 100 * time.Millisecond

// close ends the program's input and, a moment later, our side of its output. A program
// that owes an answer gets no moment; nor does a peer, which has no input of its own.
func (h *Conversation) close() error {
	h.once.Do(func() {
		if half, ok := h.end.(interface{ CloseWrite() error }); ok {
			h.done = half.CloseWrite()
			if !h.busy.Load() {
				h.part()
			}
		}
		close(h.closing)
		h.done = errors.Join(h.done, h.end.Close())
		<-h.silent
	})
	return h.done
}

// part waits a moment for the end.
func (h *Conversation) part() {
	timer := time.NewTimer(partingWait)
	defer timer.Stop()
	select {
	case <-h.ended:
	case <-timer.C:
	}
}

// listen reads lines until there are no more.
func (h *Conversation) listen(delimiter byte) {
	defer close(h.silent)
	scanner := bufio.NewScanner(h.end)
	scanner.Buffer(nil, int(min(h.max, 1<<30))+1)
	scanner.Split(func(data []byte, atEOF bool) (int, []byte, error) {
		if i := bytes.IndexByte(data, delimiter); i >= 0 {
			return i + 1, data[:i], nil
		}
		if atEOF && len(data) > 0 {
			return 0, nil, io.ErrUnexpectedEOF
		}
		return 0, nil, nil
	})
	for scanner.Scan() {
		select {
		case h.lines <- scanner.Text():
		case <-h.closing:
			return
		}
	}
	h.heard = scanner.Err()
	if errors.Is(h.heard, bufio.ErrTooLong) {
		h.heard = h.tooLarge()
	}
}

func (h *Conversation) tooLarge() error {
	return &TooLargeError{What: "reply", MaxBytes: h.max, Target: h.target}
}

// ErrUnasked says that a program or a peer spoke when nothing had been asked of it, so that
// its next line would not be the answer to the next question.
var ErrUnasked = errors.New("it spoke unasked")

// quiet returns nil when the program is there, and has said nothing that was not asked for.
func (h *Conversation) quiet() error {
	select {
	case <-h.lines:
		return fmt.Errorf("%s: %w", h.target, ErrUnasked)
	case <-h.ended:
		return h.over(context.Background())
	case <-h.silent:
		return h.over(context.Background())
	default:
		return nil
	}
}

// over says how a program came to its end that says no more.
func (h *Conversation) over(ctx context.Context) error {
	select {
	case <-h.silent:
		if h.heard != nil && !errors.Is(h.heard, io.ErrUnexpectedEOF) {
			return h.heard
		}
	default:
	}
	// Its output has ended; as a rule it ends in a moment.
	timer := time.NewTimer(partingWait)
	defer timer.Stop()
	select {
	case <-h.ended:
		if h.exit != nil {
			return h.exit
		}
		return fmt.Errorf("%s has ended: %w", h.target, io.ErrUnexpectedEOF)
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return fmt.Errorf("%s has closed its output: %w", h.target, io.ErrUnexpectedEOF)
	}
}

// ask writes a line and reads lines until last says that one is the last.
func (h *Conversation) ask(ctx context.Context, held *Held, line string, last func(string) bool) ([]string, error) {
	h.busy.Store(true)
	defer h.busy.Store(false)
	if err := h.quiet(); err != nil {
		return nil, err
	}
	if _, err := io.WriteString(h.end, line); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		select {
		case <-h.silent:
			return nil, h.over(ctx)
		default:
			return nil, fmt.Errorf("write to %s: %w", h.target, bare(err))
		}
	}
	var reply []string
	for room := h.max; ; {
		got, err := h.hear(ctx)
		if err != nil {
			return nil, err
		}
		held.Progress()
		if room -= int64(len(got)); room < 0 {
			return nil, h.tooLarge()
		}
		reply = append(reply, got)
		if last(got) {
			return reply, nil
		}
	}
}

// hear returns the next line.
func (h *Conversation) hear(ctx context.Context) (string, error) {
	select {
	case got := <-h.lines:
		return got, nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	case <-h.silent:
	}
	select {
	case got := <-h.lines:
		return got, nil
	default:
		return "", h.over(ctx)
	}
}

// talk is what the sessions have in common whose handle is a Conversation.
type talk struct {
	kind      string
	delimiter byte
	caller    Caller[*Conversation]
}

func (t talk) ask(ctx context.Context, line string) (string, error) {
	reply, err := t.askUntil(ctx, line, func(string) bool { return true })
	if err != nil {
		return "", err
	}
	return reply[0], nil
}

func (t talk) askUntil(ctx context.Context, line string, last func(line string) bool) ([]string, error) {
	switch {
	case strings.IndexByte(line, t.delimiter) >= 0:
		return nil, &Invalid{t.kind, "line", "holds the delimiter"}
	case last == nil:
		return nil, &Invalid{t.kind, "last", "is nil"}
	}
	got, err := t.caller.Do(ctx, func(ctx context.Context, h *Conversation, held *Held) (any, error) {
		return h.ask(ctx, held, line+string([]byte{t.delimiter}), last)
	})
	reply, _ := got.([]string)
	return reply, err
}

// CoprocessSession is an open Coprocess. Many goroutines may use it: their calls take turns.
// Whoever opened it closes it.
type CoprocessSession struct{ talk talk }

// Ask writes line, which must not hold the delimiter, and returns the line that the program
// answers with. Where the program ends instead, the error is its *ExitError, or
// io.ErrUnexpectedEOF when it ended with code 0.
func (s *CoprocessSession) Ask(ctx context.Context, line string) (string, error) {
	return s.talk.ask(ctx, line)
}

// AskUntil is Ask for answers of several lines: it returns them up to the one of which last
// says that it is the last. last runs on the call's goroutine; ReplyMaxBytes holds for all.
func (s *CoprocessSession) AskUntil(ctx context.Context, line string, last func(line string) bool) ([]string, error) {
	return s.talk.askUntil(ctx, line, last)
}

// Close ends the program's input, and what does not end then by its ladder.
func (s *CoprocessSession) Close() error { return s.talk.caller.Close() }
