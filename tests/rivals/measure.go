package main

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// The names of the usual figures.
const (
	wall   = "wall"
	cpu    = "CPU"
	allocs = "allocations"
	heap   = "bytes"
	rate   = "a second"
)

// meter measures a stretch of work of this process.
type meter struct {
	mem      runtime.MemStats
	cpu      time.Duration
	start    time.Time
	children bool
}

// startMeter starts a meter; children counts the processor time of child processes that
// have been waited for, too.
func startMeter(children bool) *meter {
	m := &meter{children: children}
	runtime.ReadMemStats(&m.mem)
	m.cpu = processorTime(children)
	m.start = time.Now()
	return m
}

// each ends the measurement and divides it by ops.
func (m *meter) each(ops int) readings {
	took := time.Since(m.start)
	used := processorTime(m.children) - m.cpu
	var after runtime.MemStats
	runtime.ReadMemStats(&after)
	n := float64(ops)
	return readings{
		{wall, float64(took) / n, nanoseconds},
		{cpu, float64(used) / n, nanoseconds},
		{allocs, float64(after.Mallocs-m.mem.Mallocs) / n, count},
		{heap, float64(after.TotalAlloc-m.mem.TotalAlloc) / n, bytesOf},
	}
}

// processorTime is what this process has used, user and system, by getrusage(2); with its
// dead children's, if asked for.
func processorTime(children bool) time.Duration {
	used := rusage(syscall.RUSAGE_SELF)
	if children {
		used += rusage(syscall.RUSAGE_CHILDREN)
	}
	return used
}

func rusage(who int) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(who, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// loop is a contender that does op ops times, one after the other.
func loop(name string, ops int, op func(context.Context) error) contender {
	return contender{name, func(ctx context.Context) (readings, error) {
		m := startMeter(false)
		for range ops {
			if err := op(ctx); err != nil {
				return nil, err
			}
		}
		return m.each(ops), nil
	}}
}

// crowd is a contender that does op ops times, width at a time.
func crowd(name string, width, ops int, op func(context.Context, int) error) contender {
	return contender{name, func(ctx context.Context) (readings, error) {
		m := startMeter(false)
		if err := together(ctx, width, ops, op); err != nil {
			return nil, err
		}
		got := m.each(ops)
		return append(got, reading{rate, 1e9 / got[0].value, perSecond}), nil
	}}
}

// together calls op for 0 to ops-1 on width goroutines, which it waits for. The first error
// is returned, and no further op begun.
func together(ctx context.Context, width, ops int, op func(context.Context, int) error) error {
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var all sync.WaitGroup
	for range width {
		all.Go(func() {
			for failed.Load() == nil {
				i := int(next.Add(1)) - 1
				if i >= ops {
					return
				}
				if err := op(ctx, i); err != nil {
					failed.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	all.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}
