package guard

import (
	"bufio"
	"cmp"
	"errors"
	"runtime"
	"runtime/debug"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// execWithLimits sets the limits of this process and becomes the command.
func execWithLimits(p *Plan, _ *bufio.Reader, w *words) {
	next, err := newImage(p)
	if err == nil {
		err = p.Limits.set(func(resource int, limit *unix.Rlimit) error {
			if resource == unix.RLIMIT_AS {
				next.memory = limit
				return nil
			}
			return unix.Setrlimit(resource, limit)
		})
	}
	if err == nil {
		err = next.become()
	}
	w.say(Word{Failed: &Failed{Errno: int(errno(err))}})
}

// image is a program that this process is to become. A Go program has more than a gigabyte of
// addresses, so under a limit of memory it may not ask for any more, and dies if it does: all
// that is needed from then on is here.
type image struct {
	path       *byte
	args, env  []*byte
	memory     *unix.Rlimit // nil is as it was
	unfinished [][]byte     // what to say when the program is not to be had, by number of the error
}

// errnoMost is the greatest number of an error on Linux.
const errnoMost = 133

func newImage(p *Plan) (*image, error) {
	// Package syscall has raised the limit of open files, and puts it back in Exec alone: also
	// in one that fails, as it does here.
	_ = syscall.Exec("", nil, nil)
	path, err1 := syscall.BytePtrFromString(string(p.Path))
	args, err2 := syscall.SlicePtrFromStrings(texts(p.Args))
	env, err3 := syscall.SlicePtrFromStrings(texts(p.Env))
	next := &image{path: path, args: args, env: env, unfinished: make([][]byte, errnoMost+1)}
	for n := range next.unfinished {
		next.unfinished[n] = encode(Word{Failed: &Failed{Errno: cmp.Or(n, int(unix.EIO))}})
	}
	// The runtime's own goroutines ask for memory too. With one processor, which this
	// goroutine does not give up again, none of them runs any more.
	debug.SetGCPercent(-1)
	runtime.GOMAXPROCS(1)
	return next, errors.Join(err1, err2, err3)
}

// become returns if the program is not to be had, and there is no limit of memory.
func (i *image) become() error {
	if i.memory != nil {
		_, _, failed := unix.RawSyscall6(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_AS, uintptr(unsafe.Pointer(i.memory)), 0, 0, 0)
		if failed != 0 {
			return failed
		}
	}
	_, _, failed := unix.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(i.path)),
		uintptr(unsafe.Pointer(&i.args[0])), uintptr(unsafe.Pointer(&i.env[0])))
	if i.memory == nil {
		return failed
	}
	say := i.unfinished[0]
	if int(failed) < len(i.unfinished) {
		say = i.unfinished[failed]
	}
	_, _, _ = unix.RawSyscall(unix.SYS_WRITE, wordsFD, uintptr(unsafe.Pointer(&say[0])), uintptr(len(say)))
	_, _, _ = unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	return failed
}

// Set sets the limits of a process that runs already.
func (l Limits) Set(pid int) error {
	return l.set(func(resource int, limit *unix.Rlimit) error {
		return unix.Prlimit(pid, resource, limit, nil)
	})
}

// set sets the limits, that of memory last. None is raised above what it may be at most.
func (l Limits) set(set func(resource int, limit *unix.Rlimit) error) error {
	for _, r := range []struct {
		resource int
		most     uint64
		after    uint64 // from the soft limit, which is a signal for processor time, to the hard one
	}{
		{unix.RLIMIT_NOFILE, l.Files, 0},
		{unix.RLIMIT_CPU, l.CPUSeconds, 1},
		{unix.RLIMIT_NPROC, l.Processes, 0},
		{unix.RLIMIT_AS, l.MemoryBytes, 0},
	} {
		if r.most == 0 {
			continue
		}
		var now unix.Rlimit
		if err := unix.Getrlimit(r.resource, &now); err != nil {
			return err
		}
		limit := unix.Rlimit{Cur: min(r.most, now.Max), Max: min(r.most+r.after, now.Max)}
		if err := set(r.resource, &limit); err != nil {
			return err
		}
	}
	return nil
}
