//go:build !linux

package resources_test

// systemChildren are children that this system alone can be.
var systemChildren map[string]func()
