//go:build !linux

package peers

import "errors"

// FullBacklog is the address of a listener that takes no more connections. It is known
// how to make one on Linux alone.
func FullBacklog() (addr string, close func(), err error) { return "", nil, errors.ErrUnsupported }
