package cgroup

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestLocateFollowsTheMount(t *testing.T) {
	const mounts = `25 1 0:22 / /sys/fs/cgroup rw - tmpfs tmpfs rw
30 25 0:26 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw
`
	assert.Equal(t, "/sys/fs/cgroup/unified", locate(mounts, "/"))
	assert.Equal(t, "/sys/fs/cgroup/unified/user.slice/a", locate(mounts, "/user.slice/a"))
	assert.Empty(t, locate(mounts, ""))
	const part = `30 25 0:26 /docker/x /sys/fs\040cgroup rw - cgroup2 cgroup2 rw`
	assert.Equal(t, "/sys/fs cgroup/y", locate(part, "/docker/x/y"))
	assert.Empty(t, locate(part, "/docker/xyz"))
	assert.Empty(t, locate("nonsense", "/"))
}

func TestOnlyOurOwnDeadAreStale(t *testing.T) {
	for _, name := range []string{
		"", "user.slice", "curfew-", "curfew-1-2-3", "curfew-0-999999999-1-x",
		ownerName(namespace(), 1, 0)[:9], "curfew-" + namespace() + "-x-1-r", "curfew-other-999999999-1-r",
	} {
		assert.False(t, isStale(name), name)
	}
	assert.True(t, isStale(ownerName(namespace(), 1, 1<<60)+"r"), "the number was given to another")
	assert.True(t, isStale(ownerName(namespace(), 1<<30, 1)+"r"))
}
