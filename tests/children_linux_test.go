package tests

// children are what a child process can be told to do, by name. What they return is said
// on standard error, and ends them with code 1.
var children = map[string]func() error{
	"silent dns": silentDNSChild,
	"memory":     memoryChild,
	"measured":   measuredChild,
}
