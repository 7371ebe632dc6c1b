package guard

import (
	"bufio"
	"runtime/debug"
	"syscall"

	"golang.org/x/sys/unix"
)

// execWithLimits sets the limits of this process and becomes the command.
func execWithLimits(p *Plan, _ *bufio.Reader, w *words) {
	path, args, env := string(p.Path), texts(p.Args), texts(p.Env)
	// From the limit of memory on, nothing should be asked for.
	debug.SetGCPercent(-1)
	err := p.Limits.set(func(resource int, limit *unix.Rlimit) error {
		return unix.Setrlimit(resource, limit)
	})
	if err == nil {
		err = syscall.Exec(path, args, env)
	}
	w.say(Word{Failed: &Failed{Errno: int(errno(err))}})
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
