package resources_test

import (
	"testing"

	"curfew.example/resources"
	"curfew.example/resources/resourcetest"
	"curfew.example/tests/peers"
)

// fullBacklog is the address of a listener that takes no more connections.
func fullBacklog(t *testing.T) string {
	t.Helper()
	addr, end, err := peers.FullBacklog()
	if err != nil {
		t.Skipf("no backlog can be filled: %v", err)
	}
	t.Cleanup(end)
	return addr
}

func TestFetchExpiresWhileItConnects(t *testing.T) {
	resourcetest.NothingLeft(t)
	addr := fullBacklog(t)
	fetchExpires(t, resources.Fetch{URL: "http://" + addr}, nil, nil)
	fetchExpires(t, resources.Fetch{URL: "https://" + addr}, newShelf(t), nil)
}
