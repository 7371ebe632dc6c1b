//go:build !linux

package family

import (
	"context"
	"os"
)

// Family is the children of this process.
type Family struct{}

// Adopt begins to look after the children that come from now on.
func Adopt() *Family { return &Family{} }

// Main returns the command's main process, nil when it is not known: here it never is.
func (*Family) Main() *os.Process { return nil }

// Reap waits for adopted children that have ended.
func (*Family) Reap() {}

// Sweep kills all adopted children: here there are none.
func (*Family) Sweep(context.Context) Swept { return Swept{} }
