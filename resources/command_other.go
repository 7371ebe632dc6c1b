//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package resources

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
)

var errNotDir = errors.New("not a directory")

// There are no real-time signals here.
const (
	rtMin = 1
	rtMax = 0
)

// plainProcess reaches the main process by its handle, and what that has started by a job
// object where there are any: on Windows. There are no signals to speak of: every step of a
// ladder kills.
type plainProcess struct {
	main   *os.Process
	ended  chan struct{}
	leaves bool // what the main process leaves is left alone

	mu     sync.Mutex
	job    job // nil without one, or when it is over
	total  int // processes the job has had
	killed int
	status *os.ProcessState // valid once ended is closed
}

// job holds a process and all that it starts.
type job interface {
	prepare(*exec.Cmd)
	begin(pid int) error
	kill()
	count() (total, active int)
	close()
}

// killer is the only one that there is here.
func (c Command) killer(context.Context, *Held, []signalStep) (killer, error) {
	if c.Containment != "" && c.Containment != containGroup || c.Guard != "" {
		return nil, ErrNotContained
	}
	return &plainProcess{ended: make(chan struct{}), leaves: c.LeaveBackground}, nil
}

func (p *plainProcess) name() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.job != nil || p.total > 0 {
		return "job"
	}
	return "process"
}

// watchdog is this process. When it dies, the system ends a job.
func (p *plainProcess) watchdog() string { return "runtime" }

func (p *plainProcess) start(_ context.Context, build func() *exec.Cmd) error {
	cmd := build()
	var j job
	if !p.leaves {
		// When a job's handle is closed, what is in it ends.
		j = newJob()
	}
	if j != nil {
		j.prepare(cmd)
	}
	err := cmd.Start()
	if err == nil && j != nil {
		if err = j.begin(cmd.Process.Pid); err != nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}
	if err != nil {
		if j != nil {
			j.close()
		}
		return err
	}
	p.main, p.job = cmd.Process, j
	// Ends with the process: Run waits for that, or it is a leftover.
	go func() {
		defer close(p.ended)
		p.status, _ = p.main.Wait()
	}()
	return nil
}

func (p *plainProcess) pid() int {
	if p.main == nil {
		return 0
	}
	return p.main.Pid
}

func (p *plainProcess) exited() <-chan struct{} { return p.ended }

func (p *plainProcess) signal(sig syscall.Signal) {
	if sig == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_, active := p.counted()
	p.killed += active
	if p.job != nil {
		p.job.kill()
	} else if active > 0 {
		_ = p.main.Kill()
	}
}

// counted says how many processes there have been, and how many there are.
func (p *plainProcess) counted() (total, active int) {
	switch {
	case p.job != nil:
		total, active = p.job.count()
		p.total = max(p.total, total)
		return p.total, active
	case p.total > 0:
		return p.total, 0
	case isClosed(p.ended):
		return 1, 0
	}
	return 1, 1
}

func (p *plainProcess) leave() {}

func (p *plainProcess) gone(ctx context.Context) bool {
	if !within(ctx, p.ended) {
		return false
	}
	return poll(ctx, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		if _, active := p.counted(); active > 0 {
			return false
		}
		if p.job != nil {
			p.job.close()
			p.job = nil
		}
		return true
	})
}

func (p *plainProcess) left() []Leftover {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch _, active := p.counted(); {
	case p.main == nil || (isClosed(p.ended) && active == 0):
		return nil
	case isClosed(p.ended):
		return []Leftover{{What: "process of the job", Why: "there is one still, which cannot be told more closely"}}
	}
	return []Leftover{{What: "process", Why: "has not ended", PID: p.main.Pid}}
}

func (p *plainProcess) reap() *exitStatus {
	if !isClosed(p.ended) || p.status == nil {
		return nil
	}
	return &exitStatus{code: p.status.ExitCode(), user: p.status.UserTime(), system: p.status.SystemTime()}
}

func (p *plainProcess) count() (seen, killed, left int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	total, active := p.counted()
	return total, min(p.killed, total-active), active
}

// lookPath finds the program as os/exec does, with the suffixes of PATHEXT.
func (c Command) lookPath() (string, error) {
	path, err := exec.LookPath(c.Path)
	var ee *exec.Error
	if errors.As(err, &ee) {
		// Its text holds the whole path.
		return "", ee.Err
	}
	return path, err
}

func isTextBusy(error) bool { return false }

// signalNumber knows a signal by its full name: 0 is unknown.
func signalNumber(name string) syscall.Signal {
	for sig := syscall.Signal(1); sig <= syscall.SIGTERM; sig++ {
		if signalName(sig) == name {
			return sig
		}
	}
	return 0
}

// signalName is the full name of a signal; empty is unknown.
func signalName(sig syscall.Signal) string {
	names := strings.Fields("SIGHUP SIGINT SIGQUIT SIGILL SIGTRAP SIGABRT SIGBUS SIGFPE SIGKILL . SIGSEGV . SIGPIPE SIGALRM SIGTERM")
	if sig < 1 || int(sig) > len(names) || names[sig-1] == "." {
		return ""
	}
	return names[sig-1]
}
