package resourcetest

import (
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// settleTime is how long something that is on its way out may take to go.
const settleTime = 2 * time.Second

// NothingLeft makes t fail at its end when it left something behind: a goroutine, and on
// Linux a file descriptor or a child process, that were not there at the call. What
// t.Cleanup was given after the call is done by then, so a test calls it first. What is
// on its way out gets two seconds. It looks at the whole process, and so is not for
// tests that run in parallel.
func NothingLeft(t testing.TB) {
	t.Helper()
	before := openThings()
	running := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		t.Helper()
		// A forgotten os.File is closed by the collector, which is to mend nothing here.
		defer debug.SetGCPercent(debug.SetGCPercent(-1))
		if err := goleak.Find(running); err != nil {
			t.Errorf("goroutines are left: %v", err)
		}
		if left := stillOpen(before); len(left) > 0 {
			t.Errorf("left open: %s", strings.Join(left, ", "))
		}
	})
}

// thing is a file descriptor or a child process. As their numbers are used again, it is
// told apart by what is behind its number: a descriptor's target, a process's start.
type thing struct{ number, behind string }

// stillOpen lists what is open and was not before, once that has stopped shrinking.
func stillOpen(before map[thing]string) []string {
	for deadline := time.Now().Add(settleTime); ; time.Sleep(5 * time.Millisecond) {
		var left []string
		for th, description := range openThings() {
			if _, known := before[th]; !known {
				left = append(left, fmt.Sprintf("%s (%s)", th.number, description))
			}
		}
		if len(left) == 0 || time.Now().After(deadline) {
			slices.Sort(left)
			return left
		}
	}
}

// PlainTimer starts a plain timer of length d and sends how late it fired: what of a
// lateness measured at the same time is the machine's and not the kind's.
func PlainTimer(d time.Duration) <-chan time.Duration {
	late := make(chan time.Duration, 1)
	due := time.Now().Add(d)
	time.AfterFunc(d, func() { late <- time.Since(due) })
	return late
}
