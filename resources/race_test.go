//go:build race

package resources_test

const raceEnabled = true
