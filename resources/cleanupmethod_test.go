package resources_test

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/resources"
	"curfew.example/resources/resourcetest"
)

var errCleanup = errors.New("stopped with an error")

// cleanupJob has methods of all shapes.
type cleanupJob struct{ stopped []string }

func (j *cleanupJob) Stop()                { j.stopped = append(j.stopped, "Stop") }
func (j *cleanupJob) Close() error         { j.stopped = append(j.stopped, "Close"); return errCleanup }
func (j *cleanupJob) Halt(context.Context) { j.stopped = append(j.stopped, "Halt") }
func (j *cleanupJob) Shutdown(ctx context.Context) error {
	j.stopped = append(j.stopped, "Shutdown")
	return ctx.Err()
}
func (j *cleanupJob) Wait(int) error { return nil }
func (j *cleanupJob) Count() int     { return len(j.stopped) }
func (j *cleanupJob) hidden() error  { return nil }
func (j *cleanupJob) Work(ctx context.Context) (string, error) {
	<-ctx.Done()
	return "half", ctx.Err()
}

func TestCleanupMethodTakesEveryShape(t *testing.T) {
	for name, want := range map[string]error{"Stop": nil, "Close": errCleanup, "Halt": nil, "Shutdown": nil} {
		t.Run(name, func(t *testing.T) {
			job := &cleanupJob{}
			stop, err := resources.CleanupMethod(job, name)
			require.NoError(t, err)
			assert.Empty(t, job.stopped, "it is looked up, not called")
			assert.ErrorIs(t, stop(t.Context()), want)
			assert.Equal(t, []string{name}, job.stopped)
		})
	}
}

func TestCleanupMethodTakesARealServer(t *testing.T) {
	stop, err := resources.CleanupMethod(&http.Server{}, "Shutdown")
	require.NoError(t, err)
	assert.NoError(t, stop(t.Context()))
}

func TestCleanupMethodRefuses(t *testing.T) {
	job := &cleanupJob{}
	_ = job.hidden()
	for name, c := range map[string]struct {
		receiver any
		method   string
		why      string
	}{
		"no such method": {job, "Shutdwon", `*resources_test.cleanupJob has no exported method "Shutdwon"; when it names no method, a clean-up must be a function`},
		"no name":        {job, "", "no exported method"},
		"unexported":     {job, "hidden", "no exported method"},
		"not a pointer":  {*job, "Close", "no exported method"},
		"an argument":    {job, "Wait", "is a func(int) error"},
		"a result":       {job, "Count", "is a func() int"},
		"nothing":        {nil, "Close", "there is no object"},
		"a nil pointer":  {(*cleanupJob)(nil), "Close", "there is no object"},
	} {
		t.Run(name, func(t *testing.T) {
			stop, err := resources.CleanupMethod(c.receiver, c.method)
			assert.Nil(t, stop)
			var invalid *resources.Invalid
			require.ErrorAs(t, err, &invalid)
			assert.Equal(t, "CleanupMethod", invalid.Field)
			assert.Contains(t, invalid.Why, c.why)
		})
	}
}

func TestCleanupByNameIsTheReceiversMethod(t *testing.T) {
	job := &cleanupJob{}
	use := resources.Of(resources.Func(job.Work).On(job))
	named, err := resources.CleanupByName(use, "Shutdown")
	require.NoError(t, err)
	end := resourcetest.Drive(t.Context(), named, funcBudget, nil)
	assert.Equal(t, "half", end.Value)
	assert.Equal(t, []string{"Shutdown"}, job.stopped)
	assert.NoError(t, end.Report.Err, "the hook's context has not ended")
}

func TestCleanupByNameWorksForFunctionsOfAny(t *testing.T) {
	job := &cleanupJob{}
	f := resources.Func(func(ctx context.Context) (any, error) { return job.Work(ctx) }).On(job)
	named, err := resources.CleanupByName(resources.Of(f), "Stop")
	require.NoError(t, err)
	resourcetest.Drive(t.Context(), named, funcBudget, nil)
	assert.Equal(t, []string{"Stop"}, job.stopped)
}

func TestCleanupByNameRefuses(t *testing.T) {
	job := &cleanupJob{}
	for name, c := range map[string]struct {
		use    resources.Use
		method string
	}{
		"no receiver":    {resources.Of(resources.Func(job.Work)), "Close"},
		"no such method": {resources.Of(resources.Func(job.Work).On(job)), "Clos"},
		"another kind":   {resources.Of(resources.Socket{Address: "127.0.0.1:1"}), "Close"},
		"no use":         {nil, "Close"},
	} {
		t.Run(name, func(t *testing.T) {
			use, err := resources.CleanupByName(c.use, c.method)
			assert.Nil(t, use)
			var invalid *resources.Invalid
			require.ErrorAs(t, err, &invalid)
			assert.Equal(t, "CleanupMethod", invalid.Field)
		})
	}
	assert.Empty(t, job.stopped)
}
