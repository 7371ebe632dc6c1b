package supervisor

import (
	"io"
	"sync"
)

// onceCloser closes something of a foreign type, which may be asked by many, and asked again,
// once: what a second Close does is undefined (io.Closer). The zero value wants a Closer.
type onceCloser struct {
	io.Closer
	once sync.Once
	err  error
}

// Close implements io.Closer.
func (o *onceCloser) Close() error {
	o.once.Do(func() { o.err = o.Closer.Close() })
	return o.err
}

// release is a Piece's Close. That Close has returned says that the thing has gone: its error
// is about what was still to be written or checked, and is for whoever closes it to hear.
func (o *onceCloser) release() error {
	_ = o.Close()
	return nil
}
