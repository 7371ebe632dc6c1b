package resources

import (
	"slices"
	"sync"
)

// fetchStreamed lists the HTTP/2 connections of a pool, which many uses share and which net/http
// does not close while it is still ending a stream on them. The zero value is empty.
type fetchStreamed struct {
	mu    sync.Mutex
	conns []*fetchConn
}

func (s *fetchStreamed) add(c *fetchConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns = append(slices.DeleteFunc(s.conns, (*fetchConn).dead), c)
}

// retire closes each as soon as nobody has a stream on it.
func (s *fetchStreamed) retire() {
	s.mu.Lock()
	conns := s.conns
	s.conns = nil
	s.mu.Unlock()
	for _, c := range conns {
		c.retire()
	}
}
