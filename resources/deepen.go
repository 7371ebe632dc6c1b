package resources

// deepen has the stack of a fresh goroutine grown, once and while there is little on it to
// move. A round trip of net/http needs some 6 KiB: without this the stack is doubled two or
// three times on the way, each time with more frames to walk. Where there is room already
// it costs a comparison.
//
//go:noinline
func deepen(fill bool) {
	if fill { // it is not: the room alone is wanted
		var room [6 << 10]byte
		touch(room[:])
	}
}

//go:noinline
func touch(b []byte) { b[0] = 1 }
