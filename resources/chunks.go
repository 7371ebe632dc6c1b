package resources

// Lengths of chunks: the first is the shortest, and the longest bounds what is allocated
// and not yet filled.
const (
	chunkMinBytes = 512
	chunkMaxBytes = 1 << 20
)

// chunks collects bytes whose number is not known beforehand. Until they are joined there
// is never much more in memory than they are: a slice that is appended to takes several
// times as much while it grows. The zero value is empty.
type chunks struct {
	full      [][]byte
	fullBytes int
	last      []byte
}

// room is where the next bytes may be put: the free part of last, which is never empty.
func (c *chunks) room() []byte {
	if len(c.last) == cap(c.last) {
		if len(c.last) > 0 {
			c.full = append(c.full, c.last)
			c.fullBytes += len(c.last)
		}
		c.last = make([]byte, 0, min(max(c.fullBytes, chunkMinBytes), chunkMaxBytes))
	}
	return c.last[len(c.last):cap(c.last)]
}

func (c *chunks) add(p []byte) {
	for len(p) > 0 {
		n := copy(c.room(), p)
		c.last = c.last[:len(c.last)+n]
		p = p[n:]
	}
}

// join returns all bytes in one slice, which is not nil, and keeps that alone.
func (c *chunks) join() []byte {
	if len(c.full) > 0 {
		all := make([]byte, 0, c.fullBytes+len(c.last))
		for _, p := range c.full {
			all = append(all, p...)
		}
		*c = chunks{last: append(all, c.last...)}
	}
	if c.last == nil {
		return []byte{}
	}
	return c.last
}
