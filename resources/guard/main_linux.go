package guard

import (
	"bufio"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// Self is the file of this program, whatever has become of its name since it was started.
const Self = "/proc/self/exe"

// The names under which this program is started anew. That, and the pipes at descriptors 3
// and 4, say that it has been; arguments and the environment say nothing.
const (
	Name       = "curfew-guard"
	initName   = "curfew-init"
	limitsName = "curfew-limits"
)

// The descriptors of the pipes: what is read, and what is written.
const (
	controlFD = 3
	wordsFD   = 4
)

// ready is set once, by Main, before the program does anything else.
var ready atomic.Bool

// Ready reports whether this program can be started as a guard: whether it has called Main.
func Ready() bool { return ready.Load() }

// Main is the first line of a program's main. In a process that has been started as a
// guard it does not return. In any other it returns at once, and says that this program may
// be started as one.
func Main() {
	takePart(os.Args)
	ready.Store(true)
}

// init is Main's for a process that this package has started as a guard, and does nothing in
// any other. A guard needs little of its program, and the initialisation of the packages that
// come after this one takes a quarter of the time until the command runs.
func init() { takePart(os.Args) }

// takePart does not return in a process that has been started as a guard.
func takePart(args []string) {
	stage := stageOf(args)
	if stage == nil {
		return
	}
	// The death of its parent's thread kills the command: this one lives to the end. Called by
	// init it is the first one, and all children are its.
	runtime.LockOSThread()
	unix.CloseOnExec(controlFD)
	unix.CloseOnExec(wordsFD)
	control := bufio.NewReader(os.NewFile(controlFD, "control"))
	words := &words{os.NewFile(wordsFD, "words")}
	code := 0
	if plan, err := readPlan(control); err != nil {
		code = 125 // the runtime has gone already, or is none
	} else {
		stage(plan, control, words)
	}
	// Not os.Exit: the race detector's sleep and other people's exit hooks are not for us.
	syscall.Exit(code)
}

// stageOf says what this process has been started as: nil is the program itself.
func stageOf(args []string) func(*Plan, *bufio.Reader, *words) {
	if len(args) == 0 || !isPipe(controlFD) || !isPipe(wordsFD) {
		return nil
	}
	switch args[0] {
	case Name:
		return watchOver
	case initName:
		return initNamespace
	case limitsName:
		return execWithLimits
	}
	return nil
}

func isPipe(fd int) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFIFO
}

// words is the pipe to the one that started this process, which may have gone: to write
// is then an error that changes nothing, and never a signal, as package os/signal says of
// SIGPIPE on descriptors other than 1 and 2.
type words struct{ pipe *os.File }

func (w *words) say(word Word) { _, _ = w.pipe.Write(encode(word)) }
