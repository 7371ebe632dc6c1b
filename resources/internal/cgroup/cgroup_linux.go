package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"curfew.example/resources/internal/proctree"
)

// ErrNone says that there is no cgroup in which others could be made, or that this user
// may not.
var ErrNone = errors.New("no writable cgroup of version 2")

// prefix begins the name of every cgroup that is made here: "curfew-NS-PID-START-RANDOM",
// with the number of the owner's PID namespace, and the owner's PID and start time.
const prefix = "curfew-"

// sweepLimit bounds the wait for what a Sweep has killed.
const sweepLimit = 50 * time.Millisecond

// Parent is this process's own cgroup, in which others are made. Many goroutines may use it.
type Parent struct {
	dir   string
	owner string // prefix of the names of this process
}

// Find returns the parent, after a trial, or an error that is ErrNone.
func Find() (*Parent, error) {
	dir, err := own()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNone, err)
	}
	// A process may be put into another cgroup by who may write to that which holds both.
	if err := unix.Access(filepath.Join(dir, "cgroup.procs"), unix.W_OK); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNone, err)
	}
	st, err := proctree.ReadStat(os.Getpid())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNone, err)
	}
	p := &Parent{dir: dir, owner: ownerName(namespace(), st.PID, st.Start)}
	trial, err := p.New()
	if err == nil {
		err = errors.Join(unix.Access(trial.file("cgroup.kill"), unix.W_OK), trial.Remove())
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNone, err)
	}
	return p, nil
}

func ownerName(ns string, pid int, start uint64) string {
	return fmt.Sprintf("%s%s-%d-%d-", prefix, ns, pid, start)
}

// namespace is the number of our PID namespace: numbers of processes mean nothing in another.
func namespace() string {
	link, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return "0"
	}
	return strings.Trim(strings.TrimPrefix(link, "pid:"), "[]")
}

// own is the directory of this process's cgroup.
func own() (string, error) {
	raw, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	path := ""
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, "0::"); ok {
			path = strings.TrimSuffix(rest, "\n")
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	if dir := locate(string(mounts), path); dir != "" {
		return dir, nil
	}
	return "", errors.New("not mounted")
}

// locate finds the directory of the cgroup named path among the mounts; see
// proc_pid_mountinfo(5). It is empty when path is, or is not under any mount.
func locate(mounts, path string) string {
	for line := range strings.Lines(mounts) {
		before, after, ok := strings.Cut(line, " - ")
		f := strings.Fields(before)
		if !ok || len(f) < 5 || !strings.HasPrefix(after, "cgroup2 ") || path == "" {
			continue
		}
		// Field 4 is what of the hierarchy is mounted, field 5 is where.
		if rest, ok := strings.CutPrefix(path, strings.TrimSuffix(f[3], "/")); ok && (rest == "" || rest[0] == '/') {
			return filepath.Join(unescape(f[4]), rest)
		}
	}
	return ""
}

// unescape undoes the octal escapes of white space and backslashes.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// New makes a cgroup. The caller removes it.
func (p *Parent) New() (*Group, error) {
	dir, err := os.MkdirTemp(p.dir, p.owner)
	if err != nil {
		return nil, err
	}
	return &Group{dir}, nil
}

// Sweep kills and removes the cgroups of owners that have gone, and returns how many it
// found and how many would not go at once; those are found again the next time.
func (p *Parent) Sweep() (found, left int) {
	entries, err := os.ReadDir(p.dir)
	if err != nil {
		return 0, 0
	}
	var stale []*Group
	for _, e := range entries {
		if isStale(e.Name()) {
			g := &Group{filepath.Join(p.dir, e.Name())}
			_ = g.Kill()
			stale = append(stale, g)
		}
	}
	limit := time.Now().Add(sweepLimit)
	for _, g := range stale {
		if g.RemoveWithin(time.Until(limit)) != nil {
			left++
		}
	}
	return len(stale), left
}

// isStale reports whether name is one of ours whose owner, in our own PID namespace, has gone.
func isStale(name string) bool {
	rest, ok := strings.CutPrefix(name, prefix)
	f := strings.Split(rest, "-")
	if !ok || len(f) != 4 || f[0] != namespace() {
		return false
	}
	pid, err1 := strconv.Atoi(f[1])
	start, err2 := strconv.ParseUint(f[2], 10, 64)
	if err1 != nil || err2 != nil {
		return false
	}
	st, err := proctree.ReadStat(pid)
	if err == nil {
		return st.Start != start || st.Dead()
	}
	return proctree.HasGone(err)
}

// Group is one cgroup, for one command.
type Group struct {
	Dir string // its directory
}

func (g *Group) file(name string) string { return filepath.Join(g.Dir, name) }

// Open returns a descriptor of the directory, for CLONE_INTO_CGROUP. The caller closes it.
func (g *Group) Open() (*os.File, error) {
	fd, err := open(g.Dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), g.Dir), nil
}

// open is os.Open without asking whether the poller could watch the file: a third of the
// system calls. A command opens five.
func open(path string, flags int) (fd int, err error) {
	fd, err = unix.Open(path, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return fd, nil
}

// Kill kills all processes of the cgroup and of those below it, also those that fork at
// this moment. It does not wait for their end.
func (g *Group) Kill() error {
	fd, err := open(g.file("cgroup.kill"), unix.O_WRONLY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, err = unix.Write(fd, []byte("1"))
	return err
}

// Populated reports whether there are processes in it, or below it. Those that have ended
// and have not been waited for do not count.
func (g *Group) Populated() bool {
	raw, err := proctree.ReadFile(g.file("cgroup.events"))
	if err != nil {
		// Removed already; otherwise nobody is believed dead.
		return !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.ENODEV)
	}
	return bytes.Contains(raw, []byte("populated 1"))
}

// Members lists the processes in it.
func (g *Group) Members() []int {
	raw, err := proctree.ReadFile(g.file("cgroup.procs"))
	if err != nil {
		return nil
	}
	var pids []int
	for _, f := range strings.Fields(string(raw)) {
		// A process of another namespace is 0.
		if pid, err := strconv.Atoi(f); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Remove removes it, with those that its processes have made below it. It fails while
// there are processes in it. That it has gone already is no error.
func (g *Group) Remove() error {
	err := unix.Rmdir(g.Dir)
	if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.ENOTEMPTY) {
		g.removeBelow()
		err = unix.Rmdir(g.Dir)
	}
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

func (g *Group) removeBelow() {
	entries, _ := os.ReadDir(g.Dir)
	for _, e := range entries {
		if e.IsDir() {
			_ = (&Group{g.file(e.Name())}).Remove()
		}
	}
}

// RemoveWithin tries to remove it for d: the dead are in it until they have been waited for.
func (g *Group) RemoveWithin(d time.Duration) error {
	limit := time.Now().Add(d)
	for pause := 100 * time.Microsecond; ; pause = min(2*pause, 5*time.Millisecond) {
		err := g.Remove()
		if err == nil || time.Now().After(limit) {
			return err
		}
		time.Sleep(pause)
	}
}
