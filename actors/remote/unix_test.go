//go:build unix

package remote_test

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/actors"
	"curfew.example/actors/remote"
	"curfew.example/resources"
	"curfew.example/tests/alone"
)

func TestCommandOfAPeer(t *testing.T) {
	if alone.Run(t) {
		return
	}
	p, _ := pair(t, loopback())
	sh := func(script string) resources.Command {
		return resources.Command{Path: "/bin/sh", Args: []string{"-c", script}, Env: []string{"GREETING=hello"}, Dir: "/", Stdin: []byte("in")}
	}
	out, err := remote.Do(t.Context(), p, sh(`echo "$GREETING $PWD $(cat)"`), within(5*time.Second))
	require.NoError(t, err)
	assert.Equal(t, "hello / in\n", string(out.Stdout))

	out, err = remote.Do(t.Context(), p, sh("echo why >&2; exit 3"), within(5*time.Second))
	var exit *resources.ExitError
	require.ErrorAs(t, err, &exit)
	assert.Equal(t, 3, exit.Code)
	assert.Equal(t, 3, out.ExitCode)
	assert.Equal(t, "why\n", string(exit.Stderr))

	out, err = remote.Do(t.Context(), p, sh("echo begun; sleep 60"), within(300*time.Millisecond))
	var expired *actors.ExpiredError
	require.ErrorAs(t, err, &expired)
	assert.Equal(t, "begun\n", string(out.Stdout), "what there was of the result")
	assert.Zero(t, out.Left)
	assert.Equal(t, actors.Running, expired.Receipt.Phase)
}

func TestFrozenPeerIsGivenUpByDeadlineAndGrace(t *testing.T) {
	if alone.Run(t) {
		return
	}
	const limit, grace = 300 * time.Millisecond, 200 * time.Millisecond
	p, c := pair(t, loopback(), func(c *remote.Config) { c.Grace = grace })
	url, hung, ended := site(t)
	_, err := remote.Do(t.Context(), p, resources.Fetch{URL: url + "/page"}, within(5*time.Second))
	require.NoError(t, err, "the link is up")

	c.signal(syscall.SIGSTOP)
	plain := lateness(limit + grace)
	start := time.Now()
	_, err = remote.Do(t.Context(), p, resources.Fetch{URL: url + "/hang"}, within(limit))
	took := time.Since(start)
	require.ErrorIs(t, err, remote.ErrNoAnswer)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Less(t, took, limit+grace+<-plain+slack)

	c.signal(syscall.SIGCONT)
	_, err = remote.Do(t.Context(), p, resources.Fetch{URL: url + "/page"}, within(5*time.Second))
	require.NoError(t, err, "the link goes on")
	select {
	case <-hung: // it came late, and the cancel right behind it
		<-ended
	default:
	}
	assert.Eventually(t, func() bool { return c.look().Live == 0 }, 2*time.Second, 10*time.Millisecond)
}
