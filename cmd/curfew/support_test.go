package main

import (
	"bytes"
	"context"
	"io"
	"log"
	"net"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// connections are those of a peer.
type connections struct {
	handlers sync.WaitGroup
	mu       sync.Mutex
	open     []net.Conn
	over     chan struct{} // closed by closeAll
}

func (c *connections) handle(conn net.Conn, f func(net.Conn, <-chan struct{})) {
	c.mu.Lock()
	c.open = append(c.open, conn)
	c.mu.Unlock()
	c.handlers.Go(func() { // waited for by closeAll
		defer conn.Close()
		f(conn, c.over)
	})
}

func (c *connections) closeAll() {
	close(c.over)
	c.mu.Lock()
	for _, conn := range c.open {
		conn.Close()
	}
	c.mu.Unlock()
	c.handlers.Wait()
}

func quietLog() *log.Logger { return log.New(io.Discard, "", 0) }

func writeFile(t *testing.T, name string, content []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(name, content, 0o600))
}

// ran is what a call of run did.
type ran struct {
	code           int
	stdout, stderr string
}

// call calls run with an environment of its own.
func call(t *testing.T, env map[string]string, stdin string, args ...string) ran {
	t.Helper()
	var out, err bytes.Buffer
	code := run(context.WithoutCancel(t.Context()), args, strings.NewReader(stdin), &out, &err, func(name string) string { return env[name] })
	return ran{code, out.String(), err.String()}
}
