package main

import (
	"io"
	"os"
	"slices"
	"sync"
	"time"
)

// handover is a writer whose Write can be given up: a standard stream may be a pipe that
// nobody empties, which must not hold a request whose time is over. What is being written
// then may or may not come through. One goroutine at a time writes to it.
type handover struct {
	to      io.Writer
	parts   chan []byte
	results chan error // one slot: nobody may be there any more
	over    chan struct{}
	end     sync.Once

	mu  sync.Mutex
	err error // the first of to
}

func newHandover(to io.Writer) *handover {
	h := &handover{to: to, parts: make(chan []byte), results: make(chan error, 1), over: make(chan struct{})}
	// Ends at over, or when the Write that it is in then comes back, for which the
	// process does not wait.
	go h.run()
	return h
}

func (h *handover) run() {
	for {
		select {
		case p := <-h.parts:
			n, err := h.to.Write(p)
			if err == nil && n < len(p) {
				err = io.ErrShortWrite
			}
			h.results <- err
		case <-h.over:
			return
		}
	}
}

// handoverMaxBytes is the longest part that is written at once.
const handoverMaxBytes = 64 << 10

// Write returns when p is written, or when the handover is over.
func (h *handover) Write(p []byte) (written int, err error) {
	for part := range slices.Chunk(p, handoverMaxBytes) {
		n, err := h.write(part)
		written += n
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

func (h *handover) write(p []byte) (int, error) {
	p = append([]byte(nil), p...) // the caller's is its own again, whatever becomes of the writing
	select {
	case h.parts <- p:
	case <-h.over:
		return 0, os.ErrDeadlineExceeded
	}
	select {
	case err := <-h.results:
		return h.settle(err, len(p))
	case <-h.over:
		return 0, os.ErrDeadlineExceeded
	}
}

func (h *handover) settle(err error, n int) (int, error) {
	if err == nil {
		return n, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err = err
	return 0, err
}

// SetWriteDeadline knows two times: one that has passed ends the writing, for good; any
// other means nothing.
func (h *handover) SetWriteDeadline(t time.Time) error {
	if !t.IsZero() && t.Before(time.Now()) {
		h.close()
	}
	return nil
}

// failed is what went wrong with the writing, if anything.
func (h *handover) failed() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

// close ends the writing. It may be called more than once.
func (h *handover) close() { h.end.Do(func() { close(h.over) }) }
