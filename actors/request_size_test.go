package actors_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"curfew.example/actors"
)

// The allocator puts 8 bytes before an object that is larger than 512 and has pointers, and
// rounds up to 768, then to 896: a field more would cost each request 128 bytes.
func TestARequestFitsItsSizeClass(t *testing.T) {
	assert.LessOrEqual(t, actors.RequestSize, uintptr(768-8))
}
