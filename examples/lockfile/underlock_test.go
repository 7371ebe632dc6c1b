package main

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"curfew.example/resources"
	"curfew.example/resources/resourcetest"
	"curfew.example/supervisor"
	"curfew.example/timeoutpolicy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func nothing(context.Context) error { return nil }

// The suite is what every kind passes: input checked first, ends on time, nothing left.
func TestUnderLockIsAResource(t *testing.T) {
	at := func(t testing.TB, name string, work func(context.Context) error) resources.Use {
		return resources.Of(UnderLock{Path: filepath.Join(t.TempDir(), name), Work: work})
	}
	resourcetest.Suite(t, resourcetest.Kind{
		Name: "lock",
		Good: func(t testing.TB) resources.Use { return at(t, "lock", nothing) },
		Hang: func(t testing.TB) resources.Use {
			return at(t, "lock", func(ctx context.Context) error {
				<-ctx.Done()
				return ctx.Err()
			})
		},
		Fail:      func(t testing.TB) resources.Use { return at(t, "no such directory/lock", nothing) },
		FailsWith: fs.ErrNotExist,
		Bad: []resources.Use{
			resources.Of(UnderLock{Path: "not absolute", Work: nothing}),
			resources.Of(UnderLock{Path: "/lock"}),
		},
	})
}

func TestWorkThatDoesNotComeBackKeepsItsLock(t *testing.T) {
	sup, err := supervisor.Start(supervisor.WithPolicy(timeoutpolicy.Compose(
		timeoutpolicy.Fixed(50*time.Millisecond), timeoutpolicy.Grace(50*time.Millisecond), timeoutpolicy.Force(50*time.Millisecond),
	)))
	require.NoError(t, err)
	path, release := filepath.Join(t.TempDir(), "lock"), make(chan struct{})
	deaf := UnderLock{path, func(context.Context) error {
		<-release
		return nil
	}}
	var receipt supervisor.Receipt
	_, err = supervisor.Do(t.Context(), sup, deaf, supervisor.WithReceipt(&receipt))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.NotEmpty(t, receipt.Leftover)
	assert.FileExists(t, path)

	close(release)
	assert.Eventually(t, func() bool {
		_, err := os.Stat(path)
		return os.IsNotExist(err) && len(sup.Leftovers()) == 0
	}, 10*time.Second, 10*time.Millisecond)
	require.NoError(t, sup.Close())
}
