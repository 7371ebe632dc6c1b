//go:build !linux

package tests

// children are what a child process can be told to do, by name: nothing yet.
var children = map[string]func() error{}
