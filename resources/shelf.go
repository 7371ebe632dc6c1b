package resources

import (
	"errors"
	"io"
	"sync"
)

// shelfMax bounds a shelf: beyond it the oldest entry is closed and taken off.
const shelfMax = 64

// Shelf keeps what the requests of one supervisor share: pools of idle
// connections, one a configuration. It is closed with the supervisor. The zero
// value is empty and ready; many goroutines may use it.
type Shelf struct {
	mu     sync.Mutex
	things map[any]io.Closer
	order  []any // keys, oldest first
	closed bool
}

// Get returns the thing under key, made by open when there is none. key must be
// comparable. A shelf holds at most 64 things; one that is pushed off is closed,
// which must leave it usable for those who have it in hand. On a closed shelf
// Get returns ErrSealed.
func (s *Shelf) Get(key any, open func() (io.Closer, error)) (io.Closer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrSealed
	}
	if t, ok := s.things[key]; ok {
		return t, nil
	}
	t, err := open()
	if err != nil {
		return nil, err
	}
	if s.things == nil {
		s.things = make(map[any]io.Closer)
	}
	s.things[key] = t
	s.order = append(s.order, key)
	if len(s.order) > shelfMax {
		oldest := s.order[0]
		s.order = s.order[1:]
		_ = s.things[oldest].Close()
		delete(s.things, oldest)
	}
	return t, nil
}

// Close closes all things on the shelf and refuses new ones. It may be called
// more than once.
func (s *Shelf) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	var errs []error
	for _, t := range s.things {
		errs = append(errs, t.Close())
	}
	s.things, s.order = nil, nil
	return errors.Join(errs...)
}
