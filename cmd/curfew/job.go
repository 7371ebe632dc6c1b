package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"curfew.example/actors"
	"curfew.example/supervisor"
)

// job is what the requests of one invocation share: the supervisor, the report, and the
// progress line. close ends it.
type job struct {
	*app
	limits   *limits
	sup      *supervisor.Supervisor
	report   *report
	progress *progress
}

// begin makes ready for requests. Whatever is wrong with the flags is found before
// anything is opened.
func (a *app) begin(l *limits) (*job, error) {
	policy, err := l.policy(a.getenv)
	if err != nil {
		return nil, err
	}
	rep, err := openReport(l.report, a.says)
	if err != nil {
		return nil, err
	}
	sup, err := supervisor.Start(supervisor.WithPolicy(policy), supervisor.WithDrain(0))
	if err != nil {
		rep.close()
		fmt.Fprintf(a.says, "curfew: %v\n", err)
		return nil, exit(codeInternal)
	}
	return &job{app: a, limits: l, sup: sup, report: rep, progress: &progress{}}, nil
}

// close ends the job and returns the exit code: code, unless the report could not be
// written. What would not go has been told with its request.
func (j *job) close(code int) int {
	j.progress.stop()
	_ = j.sup.Close()
	if err := j.report.close(); err != nil {
		fmt.Fprintf(j.says, "curfew: --report: %v\n", err)
		if code == codeDone {
			return codeInternal
		}
	}
	return code
}

// done is a request that has ended.
type done struct {
	receipt *actors.Receipt
	err     error
	name    string // of the request among several: "URL 2"; else empty
	code    int
}

// ended puts together how a request of that kind ended.
func ended(kind string, r *actors.Receipt, err error) *done {
	if r.Kind == "" {
		r.Kind = kind // refused before it was known
	}
	return &done{receipt: r, err: err, code: outcomeCode(r, err)}
}

// tell says on standard error how a request ended, as far as it is wanted there.
func (j *job) tell(d *done) {
	j.progress.stop()
	text := d.text()
	loud := !j.limits.quiet || d.code == codeUsage || d.code == codeLeftover || d.code == codeInternal
	if text != "" && loud {
		fmt.Fprintf(j.says, "curfew: %s\n", text)
	}
	if j.limits.verbose {
		fmt.Fprintf(j.says, "curfew: %s\n", d.summary())
	}
}

// text is the message about a request; empty when the result says it all.
func (d *done) text() string {
	if d.err == nil {
		return ""
	}
	text := d.err.Error()
	if errors.Is(d.err, supervisor.ErrNoLimit) {
		text = "no limit: give -t TIME or set CURFEW_TIMEOUT (no limit is said as none)"
	}
	if d.name != "" {
		text = d.name + ": " + text
	}
	return oneLine(text)
}

// oneLine keeps text that came from outside from writing lines, and colours, of its own.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
}

// summary says where the time went: "fetch http://127.0.0.1:80: completed in 12ms (opening
// 3ms, running 9ms), limit 5s granted by fixed 5s, released by close".
func (d *done) summary() string {
	r := d.receipt
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s in %s", strings.TrimSpace(r.Kind+" "+r.Target), r.Outcome, short(r.Used))
	var parts []string
	for _, p := range []struct {
		name string
		took time.Duration
	}{{"queued", r.Phases.Queued}, {"opening", r.Phases.Opening}, {"running", r.Phases.Running}, {"clean-up", r.Phases.Cleanup}} {
		if p.took > 0 {
			parts = append(parts, p.name+" "+short(p.took))
		}
	}
	if len(parts) > 0 {
		fmt.Fprintf(&b, " (%s)", strings.Join(parts, ", "))
	}
	if r.Budget.GrantedBy != "" {
		fmt.Fprintf(&b, ", limit %s", r.Budget.GrantedBy)
	}
	if r.Cleanup.Mechanism != "" {
		fmt.Fprintf(&b, ", released by %s", r.Cleanup.Mechanism)
	}
	return oneLine(b.String())
}

// short keeps three or four digits of a length of time.
func short(d time.Duration) string {
	unit := time.Duration(1)
	for unit*1000 < d {
		unit *= 10
	}
	return d.Round(unit).String()
}

// untilSignal returns a context that ends when curfew is told to end by a signal, with
// that as its cause. stop takes the signals back. After the first signal a second one
// ends curfew at once. See ending for which these are.
func untilSignal(ctx context.Context) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	caught := newCatch(ending())
	over := make(chan struct{})
	var ended sync.WaitGroup
	// Ends at over; stop waits for it.
	ended.Go(func() {
		select {
		case s := <-caught.signals:
			cancel(&interrupted{s})
			caught.letGo()
		case <-over:
		}
	})
	return ctx, func() {
		close(over)
		ended.Wait()
		caught.stop()
		cancel(nil)
	}
}

// isFile returns the file behind a stream, nil when there is none.
func isFile(stream any) *os.File {
	f, _ := stream.(*os.File)
	return f
}
