//go:build unix

package tests

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/resources"
	"curfew.example/supervisor"
)

// blockedInRead is work that blocks a thread in read(2), of which no context knows, until
// let has written to the other end.
func blockedInRead(t testing.TB) (work func(context.Context) (int, error), let func() error) {
	t.Helper()
	var ends [2]int
	require.NoError(t, syscall.Pipe(ends[:]))
	t.Cleanup(func() {
		_ = syscall.Close(ends[0])
		_ = syscall.Close(ends[1])
	})
	work = func(context.Context) (int, error) { return syscall.Read(ends[0], make([]byte, 1)) }
	let = func() error {
		_, err := syscall.Write(ends[1], []byte("x"))
		return err
	}
	return work, let
}

func TestSeedS18BlockedSystemCallIsAnsweredOnTimeAndListedUntilItIsBack(t *testing.T) {
	const limit, grace, force = 100 * time.Millisecond, 60 * time.Millisecond, 40 * time.Millisecond
	sup := realWorld(t, supervisor.WithPolicy(brief(limit, grace, force)))
	work, let := blockedInRead(t)
	w := watch(limit + grace + force)
	_, err := do(t, sup, work)
	w.stop(t)
	expired := isExpired(t, err)
	require.Len(t, expired.Receipt.Leftover, 1)
	assert.Equal(t, "goroutine", expired.Receipt.Leftover[0].What)
	assert.Len(t, sup.Leftovers(), 1)
	require.NoError(t, let())
	eventually(t, func() bool { return len(sup.Leftovers()) == 0 }, "it is off the books once it is back")
}

func TestSeedS18BlockedSystemCallIsEndedByItsCleanup(t *testing.T) {
	sup := realWorld(t)
	work, let := blockedInRead(t)
	n, _ := expires(t, sup, resources.Func(work).Cleanup(let), hangLimit)
	assert.Equal(t, 1, n)
}
