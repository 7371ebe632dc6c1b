package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"curfew.example/actors"
	"curfew.example/cmd/curfew/internal/family"
	"curfew.example/resources"
	"curfew.example/supervisor"
	"curfew.example/timeoutpolicy"
)

// execFlags are exec's own flags, as they were given.
type execFlags struct {
	limits
	signal  string
	leave   bool
	contain string
}

func (a *app) execCommand() *cobra.Command {
	f := &execFlags{}
	cmd := &cobra.Command{
		Use:   "exec [flags] [--] COMMAND [ARG…]",
		Short: "Run a command, and end all of it when its time is over",
		Long: `Exec runs a command with curfew's own standard streams and ends with its exit code, or
128+n when signal n ended it.

When the time is over the command and all its descendants get the signal of -s; what is
there after -k is killed. The code is then 124. What the command leaves in the background
when it ends by itself is killed too, unless --leave is given; on Linux that holds for what
has put itself into a session of its own as well.

On Linux a guard process watches over the command: should curfew itself be killed, all of
the command is killed at once, and should it be stopped, when the time is over. A guard
stays behind while something is there that would not go (code 123). The report names how the command was contained: cgroup+guard, guard, and so on, the best there is;
--contain demands one. In a PID namespace (namespace+guard) the command has no terminal.

Signals that curfew gets (INT, TERM, HUP, QUIT, USR1, USR2, WINCH) are passed on.
With a controlling terminal the command stays in curfew's process group, so that it keeps
the terminal and its job control; what the terminal itself sends to the whole group is then
not sent twice. Without one it has a group of its own.

With --output json both outputs are kept, up to 1 MiB each, and are part of the result.
With --stall they pass through curfew, and so are no terminal to the command.`,
		Example: `  curfew exec -t 30 make test
  curfew exec -t 1h -s INT -k 10 --report backup.json -- pg_dump -f db.sql db
  curfew exec -t 10 --leave sh -c 'daemon >/dev/null 2>&1 &'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 || args[0] == "" {
				return errors.New("no command is given")
			}
			return a.exec(cmd.Context(), f, args)
		},
	}
	f.add(cmd)
	cmd.Flags().SetInterspersed(false)
	cmd.Flags().StringVarP(&f.signal, "signal", "s", "TERM", "first `SIGNAL` to the command when its time is over")
	cmd.Flags().StringVar(&f.contain, "contain", "", "demand `HOW` the command is contained: cgroup+guard, guard, namespace+guard, cgroup or group")
	cmd.Flags().BoolVar(&f.leave, "leave", false, "leave alone what the command leaves in the background")
	return cmd
}

// command is the resource that args and flags ask for.
func (f *execFlags) command(a *app, args []string) resources.Command {
	c := resources.Command{
		Path:            args[0],
		Args:            args[1:],
		StdinFrom:       a.stdin,
		Ladder:          []resources.Step{{Signal: f.signal}},
		LeaveBackground: f.leave,
		Foreground:      hasTerminal() && f.contain != "namespace+guard",
		Containment:     f.contain,
	}
	switch {
	case f.json(): // kept
	case f.stall != "" && f.stall != "none":
		// What passes through a file of the command's own is not seen to move.
		c.Stdout, c.Stderr = newHandover(a.stdout), newHandover(a.stderr)
	default:
		c.Stdout, c.Stderr = a.stdout, a.stderr
	}
	return c
}

// letGo ends the handovers of a command whose outputs pass through us.
func letGo(outputs ...io.Writer) {
	for _, o := range outputs {
		if h, ok := o.(*handover); ok {
			h.close()
		}
	}
}

// unheard says which of them could not be written. The command may have an end of its own,
// of the broken pipe that it had then; else that is what d ended with.
func (j *job) unheard(d *done, outputs ...io.Writer) {
	for _, o := range outputs {
		h, ok := o.(*handover)
		if !ok || h.failed() == nil {
			continue
		}
		code := j.unwritten(h.failed())
		if errors.Is(d.err, h.failed()) && d.code != codeLeftover {
			d.code, d.err = code, nil
		}
	}
}

func (a *app) exec(ctx context.Context, f *execFlags, args []string) error {
	if _, err := resources.ParseSignal(f.signal); err != nil {
		return fmt.Errorf("-s, --signal: %q is no signal", plainWord(f.signal))
	}
	j, err := a.begin(&f.limits)
	if err != nil {
		return err
	}
	command := f.command(a, args)
	defer letGo(command.Stdout, command.Stderr)
	kin := family.Adopt()
	ctx, forward := forwardSignals(ctx, kin, command.Foreground)
	receipt := &actors.Receipt{}
	result, err := supervisor.Do(ctx, j.sup, command, supervisor.WithReceipt(receipt))
	forward.stop()

	d := ended("command", receipt, err)
	full := receiptOf(receipt, result)
	var found []resources.Leftover
	if !f.leave || d.aborted() {
		found = d.sweep(kin, full)
	}
	j.report.add(full)
	j.unheard(d, command.Stdout, command.Stderr)
	j.tellExec(d, found)
	if f.json() && result != nil {
		// Signals have their usual effect again.
		j.deliver(context.Background(), d, func(out io.Writer) error { return printJSON(out, commandResult(result)) })
	}
	return exitWith(j.close(d.code))
}

// aborted reports whether the request did not end by itself.
func (d *done) aborted() bool {
	return d.receipt.Outcome != actors.Completed && d.receipt.Outcome != actors.Failed
}

// sweep ends what the command's tree did not show: descendants that were given to this
// process. It adds them to the receipt, and returns those that would not go.
func (d *done) sweep(kin *family.Family, full *execReceipt) (found []resources.Leftover) {
	ctx, cancel := context.WithTimeout(context.Background(), sweepLimit(d.receipt))
	defer cancel()
	swept := kin.Sweep(ctx)
	full.Processes.Seen += swept.Seen
	full.Processes.Killed += swept.Killed
	known := make(map[int]bool)
	for _, l := range d.receipt.Leftover {
		known[l.PID] = true
	}
	for _, l := range swept.Left {
		if known[l.PID] {
			full.Processes.Seen--
			continue
		}
		found = append(found, l)
	}
	full.Processes.Left += len(found)
	d.receipt.Leftover = append(d.receipt.Leftover, found...)
	full.ReceiptFields = d.receipt.Fields()
	d.code = outcomeCode(d.receipt, d.err)
	return found
}

// sweepLeast is how long the killed have to go where the release has used up its time.
const sweepLeast = 50 * time.Millisecond

// sweepLimit is how long a sweep waits for the killed: what the release has left of its
// time, so that the end does not come later than grace and force allow.
func sweepLimit(r *actors.Receipt) time.Duration {
	if r.Budget.Force == timeoutpolicy.None {
		return 0
	}
	force := cmp.Or(r.Budget.Force, timeoutpolicy.DefaultForce) // 0: never started
	left := max(r.Budget.Grace, 0) + force - r.Cleanup.Took
	return max(sweepLeast, min(left, force))
}

// tellExec is tell for a command, whose own code or signal needs no words of ours. The
// error has been made before the sweep, and so does not name what that has found.
func (j *job) tellExec(d *done, found []resources.Leftover) {
	if _, ok := errors.AsType[*resources.ExitError](d.err); ok && d.receipt.Outcome == actors.Failed {
		d.err, found = nil, d.receipt.Leftover
	}
	j.tell(d)
	for _, l := range found {
		fmt.Fprintf(j.says, "curfew: left: %s, PID %d: %s\n", oneLine(l.What), l.PID, l.Why)
	}
}

// commandJSON is the result of exec in JSON.
type commandJSON struct {
	ExitCode        *int    `json:"exit_code"` // null when it did not exit
	Signal          *string `json:"signal"`
	Stdout          text    `json:"stdout"`
	Stderr          text    `json:"stderr"`
	StdoutDropped   int64   `json:"stdout_dropped_bytes"`
	StderrDropped   int64   `json:"stderr_dropped_bytes"`
	TookNS          int64   `json:"took_ns"`
	ProcessorTimeNS int64   `json:"processor_time_ns"`
	MaxRSSBytes     int64   `json:"max_rss_bytes"`
}

func commandResult(r *resources.CommandResult) *commandJSON {
	c := &commandJSON{
		Stdout: text(r.Stdout), Stderr: text(r.Stderr),
		StdoutDropped: r.StdoutDropped, StderrDropped: r.StderrDropped,
		TookNS: int64(r.Took), ProcessorTimeNS: int64(r.UserTime + r.SystemTime), MaxRSSBytes: r.MaxRSSBytes,
	}
	if r.Signal != "" {
		c.Signal = &r.Signal
	} else if r.ExitCode >= 0 {
		c.ExitCode = &r.ExitCode
	}
	return c
}

// printJSON writes one value as one line.
func printJSON(to io.Writer, v any) error {
	e := json.NewEncoder(to)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
