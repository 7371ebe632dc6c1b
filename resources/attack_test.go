package resources_test

import (
	"errors"
	"io"
	"net"
	"net/url"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/resources"
	"curfew.example/resources/resourcetest"
	"curfew.example/timeoutpolicy"
)

// attackReader is an input whose Read is hostile.
type attackReader func([]byte) (int, error)

func (r attackReader) Read(p []byte) (int, error) { return r(p) }

func TestAnInputThatPanicsFailsItsExchangeAndNothingElse(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	go func() { // ends with the listener
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { // a peer that says nothing; ends with its connection
				_, _ = io.Copy(io.Discard, conn)
				_ = conn.Close()
			}()
		}
	}()
	for name, read := range map[string]attackReader{
		"panic":  func([]byte) (int, error) { panic("input") },
		"goexit": func([]byte) (int, error) { runtime.Goexit(); return 0, nil },
	} {
		t.Run(name, func(t *testing.T) {
			use := resources.Of(resources.Socket{Address: listener.Addr().String(), In: read})
			start := time.Now()
			end := resourcetest.Drive(t.Context(), use, timeoutpolicy.Budget{Limit: 5 * time.Second}, nil)
			var panicked *resources.Panicked
			assert.ErrorAs(t, end.Err, &panicked)
			assert.False(t, end.Aborted)
			assert.Less(t, time.Since(start), time.Second)
			assert.Empty(t, end.Report.Left())
		})
	}
}

func TestGuardContainsAnErrorWhoseOwnMethodsPanic(t *testing.T) {
	var none *url.Error // a nil pointer in an error interface
	resources.Guard(func() error { return none }, func(err error) {
		var panicked *resources.Panicked
		require.ErrorAs(t, err, &panicked)
		assert.NotErrorIs(t, err, io.EOF)
		assert.ErrorContains(t, err, "*url.Error")
	})
	resources.Guard(func() error { panic(none) }, func(err error) {
		assert.NotErrorIs(t, err, io.EOF)
		assert.Error(t, err)
	})
	broken := errors.New("broken")
	resources.Guard(func() error { return broken }, func(err error) { assert.Equal(t, broken, err, "others stay as they are") })
}

func TestACallThatEndsInTheMidstOfLettingGoKeepsItsHold(t *testing.T) {
	for range 5000 {
		var bundle resources.Bundle
		closed := 0
		inner := bundle.Begin(nil, "session")
		require.NoError(t, inner.Keep(&resources.Piece{What: "handle", Close: func() error { closed++; return nil }}))

		var call resources.Keeper
		grip, err := bundle.HoldBy(call.Begin(nil))
		require.NoError(t, err)
		ended := make(chan struct{})
		go func() { // waited for below
			defer close(ended)
			call.Seal(true)
		}()
		goesOn := grip.LetGo()
		<-ended
		call.Release(time.Second, time.Second)
		if goesOn {
			assert.Zero(t, closed)
		} else {
			assert.Equal(t, 1, closed)
		}
	}
}
