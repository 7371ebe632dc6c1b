package actors_test

import (
	"sync"
	"testing"

	"github.com/asynkron/protoactor-go/actor"
	cmap "github.com/orcaman/concurrent-map"
	"github.com/stretchr/testify/assert"

	"curfew.example/actors"
)

func TestASystemOfOursKeepsFewMapsAndLosesNobody(t *testing.T) {
	system := actors.NewSystem(nil)
	defer system.Shutdown()
	registry := system.ProcessRegistry
	assert.LessOrEqual(t, len(registry.LocalPIDs.LocalPIDs)*cmap.SHARD_COUNT, 512)
	for _, id := range []string{"eventstream", "deadletter"} { // protoactor's own
		_, ok := registry.Get(system.NewLocalPID(id))
		assert.True(t, ok, id)
	}
	const many = 5_000
	var stopped sync.WaitGroup
	stopped.Add(many)
	pids := make([]*actor.PID, many)
	for i := range pids {
		pids[i] = system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
			if _, ok := c.Message().(*actor.Stopped); ok {
				stopped.Done()
			}
		}))
	}
	for _, pid := range pids {
		_, ok := registry.Get(pid)
		assert.True(t, ok, pid.Id)
		system.Root.Stop(pid)
	}
	stopped.Wait()
	for _, pid := range pids {
		_, ok := registry.Get(pid)
		assert.False(t, ok, pid.Id)
	}
}
