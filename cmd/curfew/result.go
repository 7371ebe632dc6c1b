package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"curfew.example/actors"
	"curfew.example/timeoutpolicy"
)

// resultLimit is how long the writing of a result may take where the request has used its
// limit up, or nearly so.
const resultLimit = 2 * time.Second

// errUnread says that the time was over before somebody had taken all of the result.
var errUnread = errors.New("timeout exceeded: it is not being read")

// deliver writes a result on standard output and reports whether that could be done; if
// not it says so and sets d's code, unless that names a leftover. A reader who does not
// take the result holds curfew for what is left of the limit, for resultLimit at least, and
// until a signal ends ctx: there is nothing left to clean up then, but "ends on time" is
// meant of all of curfew.
func (j *job) deliver(ctx context.Context, d *done, write func(io.Writer) error) bool {
	out := newHandover(j.stdout)
	defer out.close()
	if limit := timeForResult(d.receipt); limit > 0 {
		defer time.AfterFunc(limit, out.close).Stop()
	}
	if ctx.Err() == nil { // else it has ended the request, of which there may be a part
		defer context.AfterFunc(ctx, out.close)()
	}
	err := write(out)
	if err == nil {
		return true
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = errUnread
		if why, ok := errors.AsType[*interrupted](context.Cause(ctx)); ok {
			err = why
		}
	}
	if code := j.unwritten(err); d.code != codeLeftover {
		d.code = code
	}
	return false
}

// timeForResult is how long the result of a request may be waited for; 0 is no limit.
func timeForResult(r *actors.Receipt) time.Duration {
	if r.Budget.Limit == timeoutpolicy.Unlimited {
		return 0
	}
	return max(resultLimit, r.Budget.Limit-r.Used)
}

// unwritten says that something could not be written, and returns the exit code. That
// nobody reads it any more is told as the signal tells other programs.
func (a *app) unwritten(err error) int {
	if errors.Is(err, syscall.EPIPE) {
		return codeSignal + int(syscall.SIGPIPE)
	}
	fmt.Fprintf(a.says, "curfew: write the result: %v\n", err)
	if e, ok := errors.AsType[*interrupted](err); ok {
		return cancelledCode(e)
	}
	if errors.Is(err, errUnread) {
		return codeExpired
	}
	return codeInternal
}

// speech is standard error for what curfew itself says. A reader who does not take it
// holds curfew for resultLimit, once: what is still to be said then is not heard.
type speech struct{ out *handover }

// Write implements io.Writer.
func (s *speech) Write(p []byte) (int, error) {
	defer time.AfterFunc(resultLimit, s.out.close).Stop()
	return s.out.Write(p)
}

// remembered is a writer that keeps its first error, for texts that cobra writes.
type remembered struct {
	to  io.Writer
	err error
}

// Write implements io.Writer.
func (r *remembered) Write(p []byte) (int, error) {
	n, err := r.to.Write(p)
	if r.err == nil {
		r.err = err
	}
	return n, err
}
