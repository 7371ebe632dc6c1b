package peers

import (
	"net"
	"sync/atomic"
)

// BlackHole is a network between a client and a server that can go dead: what is
// connected then stays up and carries nothing in either direction, while new connections
// work. That is what a router that was restarted, or a laptop that was moved, looks like.
type BlackHole struct {
	*Peer
	swallowed atomic.Int32 // connections up to this number are dead
}

// NewBlackHole starts a network that leads to addr. Close ends it.
func NewBlackHole(addr string) (*BlackHole, error) {
	b := &BlackHole{}
	var err error
	b.Peer, err = Listen(func(c *Conn) {
		to, err := net.Dial("tcp", addr)
		if err != nil {
			_ = c.Close()
			return
		}
		pipe(c, to, func() bool { return c.N > b.swallowed.Load() })
	})
	return b, err
}

// Swallow makes the network dead for what is connected now.
func (b *BlackHole) Swallow() { b.swallowed.Store(b.Accepted.Load()) }
