package resources

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// commandKind is the kind of a Command, in Spec and in errors.
const commandKind = "command"

// DefaultOutputMaxBytes is how much of each output a Command keeps when its
// OutputMaxBytes is zero: 1 MiB.
const DefaultOutputMaxBytes = 1 << 20

// Command runs a program, given as an argument vector (there is no shell), and
// ends all of it that can be reached: when it is out of time by its ladder of
// signals, and when its main process has ended by itself by killing what that left
// in the background. Only Path is needed. It is plain data but for the three
// fields marked so; it may be run many times and by many goroutines, which then
// share those three.
//
// What can be reached is named in CommandResult.Mechanism. With a guard or a cgroup that is
// every descendant. Without them a process that has left the process group, and whose
// parents had all gone before it was first seen, is out of reach; CommandResult.PipeHeld is a
// sign of one. Work that was handed to another daemon is nowhere in reach.
//
// On Linux (pidfd) a running command costs no thread and, while it runs, one look at
// its tree in /proc each second; elsewhere one operating system thread. A guard costs
// about 4 ms at the start, and a process of some megabytes.
type Command struct {
	// Path is the program. Without a slash it is looked up on the caller's PATH as
	// execvp(3) does, except that it is not taken from a relative entry
	// (exec.ErrDot). A relative path with a slash is relative to Dir.
	Path string

	// Args are the arguments, without the program's own name.
	Args []string

	// Dir is the working directory; empty is the caller's.
	Dir string

	// Env holds NAME=value entries. They are added to the caller's environment and
	// win over it; with CleanEnv they are all that the program gets.
	Env      []string
	CleanEnv bool

	// Stdin is what the program reads from its standard input. When it and
	// StdinFrom are empty the program reads the null device.
	Stdin []byte

	// StdinFrom, in process only, is read in place of Stdin. An *os.File is handed
	// to the program as it is and not closed. Another reader is closed when the
	// command ends, if it is an io.Closer; a Read of one that is not, and that
	// blocks then, is a leftover until it returns.
	StdinFrom io.Reader `json:"-"`

	// Stdout and Stderr, in process only, receive the output as it comes, and it is
	// not kept. An *os.File is handed to the program as it is: nothing that passes
	// through it counts as progress. When both are the same writer, its Write is
	// never called twice at once. A Write that blocks holds Run up; when the time is over
	// it is woken where the writer has a SetWriteDeadline that works, and is a leftover
	// otherwise. When nil the output is kept in the result.
	Stdout io.Writer `json:"-"`
	Stderr io.Writer `json:"-"`

	// OutputMaxBytes is how many bytes of each output are kept; those beyond it are
	// read, counted and dropped, so that the program is not held up. Zero is
	// DefaultOutputMaxBytes.
	OutputMaxBytes int64

	// Ladder is how the command is asked to end: each signal in turn, the first at
	// once, each followed by its wait. All that can be reached is signalled and then
	// continued (SIGCONT), should it be stopped; on Linux it is stopped for that
	// moment, so that nothing slips away. Empty is TERM. What is there after the
	// budget's Grace is killed. On systems without signals every step kills; on
	// those other than Linux what is left when the main process has ended is killed.
	Ladder []Step

	// LeaveBackground leaves alone what the program left running when it ended by
	// itself, with whatever code. Such processes must have outputs of their own: ours
	// are closed. After an expiry nothing is left alone.
	LeaveBackground bool

	// Foreground keeps the program in the caller's process group, and with it the
	// terminal and its job control. Then only those of its descendants can be
	// reached that are seen in its tree.
	Foreground bool

	// Containment demands a means to reach the processes, or the start fails. Empty is
	// the best that there is, in this order; CommandResult.Mechanism says which it was.
	//
	//	cgroup+guard     a control group of version 2, where this process may make one
	//	                 (Linux 5.14), with a guard process as the watchdog
	//	guard            a guard process alone: it adopts what detaches itself
	//	cgroup           a control group without a watchdog
	//	group            the process group, and what is seen of the tree
	//	namespace+guard  a PID namespace of its own, never chosen unless asked for: the
	//	                 program has other process numbers, and its own /proc where that
	//	                 can be mounted. Not with Foreground or LeaveBackground.
	//
	// A cgroup is not used with LeaveBackground. Guards, cgroups and namespaces exist on
	// Linux alone; see package guard for what it takes to have a guard.
	Containment string

	// Guard names a program, by an absolute path, to be started as the guard: one that
	// calls guard.Main first in its main, such as curfew. Empty is this program itself, if
	// it does.
	Guard string

	// Limits of each process of the command, as getrlimit(2) says of RLIMIT_AS,
	// RLIMIT_NOFILE, RLIMIT_CPU (rounded up to seconds; the signal XCPU, then KILL a second
	// later) and RLIMIT_NPROC (of all processes of the user). Zero is the caller's. Linux
	// only. With a guard the program never runs without them; else for an instant.
	MemoryMaxBytes int64
	FilesMax       int
	CPUMax         time.Duration
	ProcessesMax   int
}

// CommandResult is what became of a command. After an expiry it is partial: Stdout and
// Stderr hold what had come, and ExitCode is -1 if the main process would not end.
type CommandResult struct {
	ExitCode int    // -1 when it was ended by a signal, or has not ended
	Signal   string // the signal that ended it, "KILL"; empty when it exited
	PID      int

	Stdout, Stderr               []byte // nil when streamed; at most OutputMaxBytes each
	StdoutDropped, StderrDropped int64  // bytes that came after those kept
	Truncated                    bool   // something was dropped

	// PipeHeld says that when all known processes had gone an output pipe was still
	// open elsewhere: something has escaped, or was left by LeaveBackground.
	PipeHeld bool

	// Mechanism is how its processes are reached: a value of Command.Containment, or in
	// place of "group" what there was of it: "group+children" (the group, and its tree
	// as far as it was seen), "children" (the tree; the group is the caller's), "process".
	Mechanism string

	// Watchdog is who ends it when its time is over: "guard", or "runtime", which is this
	// process, and nobody if that dies.
	Watchdog string

	Seen   int // processes that were seen, the main one included; a short-lived one may have been missed
	Killed int // of those, how many were signalled by us and are gone
	Left   int // of those, how many are still there; not counted after LeaveBackground

	Took        time.Duration // from the start of the main process to the end of its outputs
	UserTime    time.Duration // processor time of the main process and those it waited for
	SystemTime  time.Duration
	MaxRSSBytes int64 // most memory resident at once, of the largest of them; 0 where unknown
}

// ExitError says that a command ended with another code than 0, or by a signal. It
// comes with the result.
type ExitError struct {
	Target string // the program's name
	Code   int    // -1 when it was ended by a signal
	Signal string // the signal that ended it, without SIG; ParseSignal gives its number
	Stderr []byte // the last of its standard error, at most 2 KiB, unless that was a file
}

func (e *ExitError) Error() string {
	if e.Signal != "" {
		return fmt.Sprintf("%s: ended by signal %s", e.Target, e.Signal)
	}
	return fmt.Sprintf("%s: exit status %d", e.Target, e.Code)
}

// StartError says that the program could not be started: exec.ErrNotFound and
// fs.ErrNotExist (there is none), fs.ErrPermission (there is one that may not be
// executed, or a directory), or another error of the operating system are found in it.
type StartError struct {
	Target string // the program's name
	Err    error
}

func (e *StartError) Error() string { return fmt.Sprintf("start %s: %v", e.Target, e.Err) }
func (e *StartError) Unwrap() error { return e.Err }

// Spec checks the fields. Target and Endpoint are the program's name, without its
// directory.
func (c Command) Spec() (Spec, error) {
	if err := c.check(); err != nil {
		return Spec{}, err
	}
	name := filepath.Base(c.Path)
	return Spec{Kind: commandKind, Target: name, Endpoint: name}, nil
}

func (c Command) check() error {
	bad := func(field, why string) error { return &Invalid{Kind: commandKind, Field: field, Why: why} }
	switch {
	case c.Path == "":
		return bad("Path", "is empty")
	case strings.ContainsRune(c.Path, 0):
		return bad("Path", "holds a NUL byte")
	case slices.ContainsFunc(c.Args, hasNUL):
		return bad("Args", "one holds a NUL byte")
	case hasNUL(c.Dir):
		return bad("Dir", "holds a NUL byte")
	case slices.ContainsFunc(c.Env, badEnv):
		return bad("Env", "an entry is not NAME=value")
	case c.OutputMaxBytes < 0:
		return bad("OutputMaxBytes", "is negative")
	case len(c.Stdin) > 0 && c.StdinFrom != nil:
		return bad("StdinFrom", "is given beside Stdin")
	case c.Containment != "" && !slices.Contains(containments(), c.Containment):
		return bad("Containment", "is none of "+strings.Join(containments(), ", "))
	case c.Containment == containNamespace && (c.Foreground || c.LeaveBackground):
		return bad("Containment", "a namespace goes with neither Foreground nor LeaveBackground")
	case c.LeaveBackground && strings.Contains(c.Containment, containCgroup):
		return bad("Containment", "a cgroup does not go with LeaveBackground")
	case c.Guard != "" && (!filepath.IsAbs(c.Guard) || hasNUL(c.Guard)):
		return bad("Guard", "is not an absolute path")
	case c.MemoryMaxBytes < 0 || c.FilesMax < 0 || c.CPUMax < 0 || c.ProcessesMax < 0:
		return bad("MemoryMaxBytes, FilesMax, CPUMax, ProcessesMax", "one is negative")
	case c.limited() && runtime.GOOS != "linux":
		return bad("MemoryMaxBytes, FilesMax, CPUMax, ProcessesMax", "there are no such limits on this system")
	}
	_, err := parseLadder(c.Ladder)
	return err
}

// limited reports whether there are limits of each process.
func (c Command) limited() bool {
	return c.MemoryMaxBytes > 0 || c.FilesMax > 0 || c.CPUMax > 0 || c.ProcessesMax > 0
}

func hasNUL(s string) bool { return strings.ContainsRune(s, 0) }

func badEnv(entry string) bool { return strings.IndexByte(entry, '=') < 1 || hasNUL(entry) }

// Run starts the program and waits for its end. An end with another code than 0, or
// by a signal, is an *ExitError beside the result; a program that does not start is a
// *StartError; an error of StdinFrom, Stdout or Stderr is returned when nothing else went wrong.
func (c Command) Run(ctx context.Context, held *Held) (*CommandResult, error) {
	p, streams, err := c.begin(ctx, held)
	if err != nil {
		return nil, err
	}
	return c.attend(ctx, held, p, streams)
}

// begin starts the program, with what there is of it in held.
func (c Command) begin(ctx context.Context, held *Held) (*process, *streams, error) {
	steps, err := parseLadder(c.Ladder)
	if err != nil {
		return nil, nil, err
	}
	name := filepath.Base(c.Path)
	streams, err := c.open(name, held)
	if err != nil {
		return nil, nil, fmt.Errorf("pipes for %s: %w", name, err)
	}
	k, err := c.killer(ctx, held, steps)
	if err != nil {
		streams.abandon()
		return nil, nil, &StartError{Target: name, Err: err}
	}
	p := newProcess(name, steps, k)
	if _, force := held.Waits(); force > 0 {
		p.waits = forceWait(force)
	}
	if err := held.Keep(streams.kept); err != nil {
		streams.abandon()
		return nil, nil, err
	}
	if err := held.Keep(p.piece()); err != nil {
		streams.abandon()
		return nil, nil, err
	}
	if err := p.start(ctx, c, streams); err != nil {
		streams.abandon()
		held.Drop(p.kept)
		held.Drop(streams.kept)
		return nil, nil, err
	}
	held.Opened()
	streams.run()
	return p, streams, nil
}

// attend waits for the end of what begin has started.
func (c Command) attend(ctx context.Context, held *Held, p *process, streams *streams) (*CommandResult, error) {
	ended := p.wait(ctx)
	if ended {
		ended = p.finish(held, c.LeaveBackground)
	}
	ended = streams.drain(ctx, held) && ended
	return c.result(ctx, p, streams, ended)
}

// result puts together what there is. ended says that the command ended by itself, and all
// that it wrote was handed on.
func (c Command) result(ctx context.Context, p *process, s *streams, ended bool) (*CommandResult, error) {
	r := &CommandResult{
		ExitCode:  -1,
		PID:       p.killer.pid(),
		Mechanism: p.killer.name(),
		Watchdog:  p.killer.watchdog(),
		Took:      time.Since(p.started),
	}
	st := p.killer.reap()
	if st != nil {
		r.ExitCode, r.Signal = st.code, st.signal
		r.UserTime, r.SystemTime, r.MaxRSSBytes = st.user, st.system, st.maxRSSBytes
	}
	r.Seen, r.Killed, r.Left = p.killer.count()
	if p.left {
		r.Left = 0
	}
	s.fill(r)
	switch {
	case !ended:
		return r, context.Cause(ctx)
	case st != nil && st.err != nil:
		return r, fmt.Errorf("%s: %w", p.name, st.err)
	case r.ExitCode != 0:
		return r, &ExitError{Target: p.name, Code: r.ExitCode, Signal: r.Signal, Stderr: s.stderrTail()}
	}
	if err := s.failed(); err != nil {
		return nil, fmt.Errorf("streams of %s: %w", p.name, err)
	}
	return r, nil
}

// environ is the program's environment. base is the caller's, with PWD for Dir.
func (c Command) environ(base []string) []string {
	if c.CleanEnv {
		// Not nil, which would mean the caller's.
		return append([]string{}, c.Env...)
	}
	return append(base, c.Env...)
}

// inDir reports, as a start error would, that the working directory is of no use.
// The operating system's own error does not tell it from a missing program.
func (c Command) inDir() error {
	if c.Dir == "" {
		return nil
	}
	info, err := os.Stat(c.Dir)
	if err == nil && !info.IsDir() {
		err = errNotDir
	}
	if err != nil {
		return fmt.Errorf("working directory: %w", bare(err))
	}
	return nil
}

// bare takes the file's name off an error, which may be nobody else's business.
func bare(err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
