package proctree

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkLook looks at a tree of two hundred.
func BenchmarkLook(b *testing.B) {
	tree := Tree{}
	if tree.Probe(); !tree.Works() {
		b.Skip("needs /proc and pidfds")
	}
	tree.PlantHidden(sleepers(b, 200))
	tree.Look()
	seen, _, _ := tree.Count()
	require.Equal(b, 200, seen)
	for b.Loop() {
		tree.Look()
	}
}
