//go:build race

package tests

// raceDetector is whether this binary has it.
const raceDetector = true
