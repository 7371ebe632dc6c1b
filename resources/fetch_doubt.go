package resources

import (
	"slices"
	"sync"
)

// fetchDoubts lists the HTTP/2 connections of a pool that may be dead: a request on them
// has expired in silence while others still wait on them. They are not closed, because
// they may only be slow, but nothing new is put on them. net/http asks them for a sign of
// life, with the reset of the expired stream (golang/go#59690) or at the latest after
// fetchPingAfter, and closes those that give none. The zero value is empty.
type fetchDoubts struct {
	mu sync.Mutex
	of map[string][]fetchDoubt // by origin
}

// fetchDoubt is a connection and how many bytes had come on it when it fell silent.
type fetchDoubt struct {
	conn *fetchConn
	read int64
}

// over reports whether the doubt is: something has come since, or the connection is gone.
func (d fetchDoubt) over() bool { return d.conn.read.Load() > d.read || d.conn.dead() }

func (d *fetchDoubts) add(origin string, c *fetchConn, read int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.of == nil {
		d.of = make(map[string][]fetchDoubt)
	}
	known := slices.DeleteFunc(d.of[origin], func(k fetchDoubt) bool { return k.conn == c || k.over() })
	d.of[origin] = append(known, fetchDoubt{c, read})
}

// any reports whether a connection to origin is in doubt now.
func (d *fetchDoubts) any(origin string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	left := slices.DeleteFunc(d.of[origin], fetchDoubt.over)
	if len(left) == 0 {
		delete(d.of, origin)
		return false
	}
	d.of[origin] = left
	return true
}

// fetchStandIn is the pool that requests go through while the other one has a doubtful
// connection to where they go: a transport cannot be told to leave one alone. The zero
// value has none yet.
type fetchStandIn struct {
	mu     sync.Mutex
	pool   *fetchPool
	closed bool
}

// get returns the pool, made by open when there is none. After Close it is one that
// keeps no connections.
func (s *fetchStandIn) get(open func() (*fetchPool, error)) (*fetchPool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pool != nil {
		return s.pool, nil
	}
	pool, err := open()
	if err != nil {
		return nil, err
	}
	pool.retired.Store(s.closed)
	s.pool = pool
	return pool, nil
}

// Close closes the pool's idle connections, as fetchPool's does.
func (s *fetchStandIn) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.pool == nil {
		return nil
	}
	return s.pool.Close()
}

// undoubted returns pool, or what stands in for it while it has a doubtful connection to
// origin. Where that has one too, the exchange gets a connection of its own.
func (f Fetch) undoubted(pool *fetchPool, p *fetchPlan, origin string) (*fetchPool, error) {
	if !pool.doubts.any(origin) {
		return pool, nil
	}
	second, err := pool.standIn.get(func() (*fetchPool, error) { return f.newPool(p, true) })
	if err != nil {
		return nil, err
	}
	if !second.doubts.any(origin) {
		return second, nil
	}
	return f.newPool(p, false)
}
