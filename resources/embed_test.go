package resources_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/resources"
)

// capped and mirrored are what users make of a kind: it, with something of their own.
type (
	capped   struct{ resources.Function[int] }
	mirrored struct{ resources.Fetch }
)

func (c capped) Spec() (resources.Spec, error) {
	spec, err := c.Function.Spec()
	spec.AtOnce = 3
	return spec, err
}

func (c capped) Run(ctx context.Context, held *resources.Held) (int, error) {
	n, err := c.Function.Run(ctx, held)
	return 2 * n, err
}

func (mirrored) Spec() (resources.Spec, error) {
	return resources.Spec{Kind: "mirror", Target: "mirror", AtOnce: 4}, nil
}

func (mirrored) Run(context.Context, *resources.Held) (*resources.Response, error) {
	return &resources.Response{Status: 299}, nil
}

// TestAKindThatIsEmbeddedLeavesTheOutersMethodsAlone holds for what Of and Prepare do for
// Function and Fetch: it is not done for those who only have one within.
func TestAKindThatIsEmbeddedLeavesTheOutersMethodsAlone(t *testing.T) {
	run := func(u resources.Use) (resources.Spec, any) {
		spec, use, err := resources.Prepare(u)
		require.NoError(t, err)
		var keeper resources.Keeper
		v, err := use.Run(t.Context(), keeper.Begin(nil))
		require.NoError(t, err)
		return spec, v
	}
	double := capped{resources.Func(func(context.Context) (int, error) { return 21, nil })}
	spec, v := run(resources.Of(double))
	assert.Equal(t, 3, spec.AtOnce)
	assert.Equal(t, 42, v)
	assert.IsType(t, double, resources.Plain(resources.Of(double)))

	spec, v = run(resources.Of(mirrored{resources.Fetch{URL: "http://127.0.0.1:1/"}}))
	assert.Equal(t, resources.Spec{Kind: "mirror", Target: "mirror", AtOnce: 4}, spec)
	assert.Equal(t, 299, v.(*resources.Response).Status)
}
