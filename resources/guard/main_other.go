//go:build !linux

package guard

// Main does nothing: there are no guards on this system.
func Main() {}

// Ready reports whether this program can be started as a guard: never on this system.
func Ready() bool { return false }
