package supervisor_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"

	"curfew.example/supervisor"
)

func TestToAskWhetherARequestExpiredOrWasCancelledMakesNoGarbage(t *testing.T) {
	for err, kind := range map[error]error{
		&supervisor.Expired{Receipt: &supervisor.Receipt{}, Cause: errWork}:   context.DeadlineExceeded,
		&supervisor.Cancelled{Receipt: &supervisor.Receipt{}, Cause: errWork}: context.Canceled,
	} {
		assert.Zero(t, testing.AllocsPerRun(100, func() { assert.True(t, errors.Is(err, kind)) }))
		assert.ErrorIs(t, err, errWork)
		assert.NotErrorIs(t, err, context.Cause(t.Context()))
	}
}
