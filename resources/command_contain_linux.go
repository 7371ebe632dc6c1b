package resources

import (
	"cmp"
	"context"
	"io"
	"math"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"curfew.example/resources/guard"
	"curfew.example/resources/internal/cgroup"
)

// ground is what this process may do to contain others. It is found out once a supervisor.
type ground struct {
	cgroups *cgroup.Parent // nil when it may not make any
}

func (*ground) Close() error { return nil }

// groundKey is the ground's on a shelf.
type groundKey struct{}

// openGround finds out, and clears away the cgroups of runtimes that have died.
func openGround() (io.Closer, error) {
	g := &ground{}
	if parent, err := cgroup.Find(); err == nil {
		g.cgroups = parent
		parent.Sweep()
	}
	return g, nil
}

func groundOf(shelf *Shelf) *ground {
	if shelf == nil {
		g, _ := openGround()
		return g.(*ground)
	}
	if g, err := shelf.Get(groundKey{}, openGround); err == nil {
		return g.(*ground)
	}
	return &ground{} // the shelf is closed
}

// killer chooses the best killer and watchdog that there are, or those that are demanded.
func (c Command) killer(ctx context.Context, held *Held, steps []signalStep) (killer, error) {
	means, err := c.means(held)
	if err != nil {
		return nil, err
	}
	if means.guard != "" {
		return c.guarded(ctx, held, steps, means), nil
	}
	g := newGroup(c.Foreground)
	g.demanded = c.Containment == containCgroup
	if means.cgroups != nil {
		g.newBox = func() (box, error) {
			made, err := means.cgroups.New()
			return boxed{made}, err
		}
	}
	if c.limited() {
		g.limits = c.limits().Set
	}
	return g, nil
}

// means is what a command is contained by.
type means struct {
	cgroups   *cgroup.Parent // nil: none
	guard     string         // program to start as a guard; empty: none
	namespace bool
}

func (c Command) means(held *Held) (means, error) {
	m := means{guard: c.Guard}
	if m.guard == "" && guard.Ready() {
		m.guard = guard.Self
	}
	if wantsCgroup(c.Containment) && !c.LeaveBackground {
		m.cgroups = groundOf(held.Shelf()).cgroups
	}
	ok := true
	switch c.Containment {
	case containCgroupGuard:
		ok = m.cgroups != nil && m.guard != ""
	case containGuard:
		ok = m.guard != ""
	case containNamespace:
		ok, m.namespace = m.guard != "", true
	case containCgroup:
		ok, m.guard = m.cgroups != nil, ""
	case containGroup:
		m.guard = ""
	}
	if !ok {
		return means{}, ErrNotContained
	}
	return m, nil
}

func wantsCgroup(containment string) bool {
	return containment == "" || containment == containCgroup || containment == containCgroupGuard
}

// limits are those of each process.
func (c Command) limits() guard.Limits {
	return guard.Limits{
		MemoryBytes: uint64(c.MemoryMaxBytes),
		Files:       uint64(c.FilesMax),
		CPUSeconds:  uint64(math.Ceil(c.CPUMax.Seconds())),
		Processes:   uint64(c.ProcessesMax),
	}
}

// boxed is a cgroup as a box.
type boxed struct{ *cgroup.Group }

func (b boxed) Attach(sys *syscall.SysProcAttr) (done func(), err error) {
	dir, err := b.Open()
	if err != nil {
		return nil, err
	}
	sys.UseCgroupFD, sys.CgroupFD = true, int(dir.Fd())
	return func() { _ = dir.Close() }, nil
}

// guarded is the killer that has a guard do it.
func (c Command) guarded(ctx context.Context, held *Held, steps []signalStep, m means) *guardKiller {
	grace, force := held.Waits()
	k := &guardKiller{
		program: m.guard, cgroups: m.cgroups,
		demanded: c.Containment == containCgroupGuard,
		alone:    guardKills(force),
		plan: guard.Plan{
			Namespace: m.namespace, Leave: c.LeaveBackground, Limits: c.limits(),
			GraceNS: int64(min(grace, graceMost)),
		},
	}
	if c.Foreground {
		k.plan.Group = unix.Getpgrp()
	}
	if due, ok := ctx.Deadline(); ok {
		// Zero is none.
		k.plan.DeadlineNS = cmp.Or(guard.Now()+int64(min(time.Until(due), graceMost)), 1)
	}
	for _, s := range steps {
		k.plan.Ladder = append(k.plan.Ladder, guard.Rung{Signal: int(s.signal), WaitNS: int64(min(s.wait, graceMost))})
	}
	k.tree.Probe()
	return k
}

// graceMost bounds lengths of time, so that sums of them are lengths of time still.
const graceMost = 10 * 365 * 24 * time.Hour
