package resources_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"curfew.example/resources"
)

// TestCommandUnderEveryContainment runs the tests that do not care how a command is
// contained once for each way, those that are not to be had here excepted.
func TestCommandUnderEveryContainment(t *testing.T) {
	tests := map[string]func(*testing.T){
		"outputs":      TestCommandReturnsBothOutputs,
		"code":         TestCommandExitCodeComesWithTheResult,
		"signal":       TestCommandSignalIsNamed,
		"missing":      TestCommandThatIsMissingIsNotFound,
		"permission":   TestCommandThatMayNotBeExecutedIsAPermissionError,
		"environment":  TestCommandEnvironmentIsAddedOrAlone,
		"directory":    TestCommandRunsInItsDirectory,
		"input":        TestCommandReadsItsInput,
		"partial":      TestCommandExpiryKeepsPartialOutput,
		"grace":        TestCommandThatIgnoresTermIsKilledAfterItsGrace,
		"ladder":       TestCommandLadderIsClimbedInOrder,
		"stopped":      TestCommandThatIsStoppedStillEnds,
		"background":   TestCommandBackgroundIsKilledAfterTheEnd,
		"pipeline":     TestCommandRestOfAPipelineHasItsGrace,
		"orphan":       TestCommandOrphanThatWasSeenIsKilled,
		"nothing left": TestCommandLeavesNothingBehind,
		"deaf":         TestCommandForcedLeavesNobodyOfADeafTree,
	}
	defer func() { commandContainment = "" }()
	best, _ := commandRun(t, commandShell("exit 0"), commandBudget)
	for _, how := range []string{"group", "cgroup", "guard", "cgroup+guard", "namespace+guard"} {
		commandContainment = ""
		if how == best.Mechanism {
			continue // they have been run so by themselves
		}
		if !commandCanHave(t, how) {
			t.Log("not to be had here:", how)
			continue
		}
		commandContainment = how
		for name, test := range tests {
			if how == "namespace+guard" && slices.Contains([]string{"background", "orphan"}, name) {
				continue // they go by numbers of processes, which are others inside
			}
			t.Run(how+"/"+name, test)
		}
	}
}

// commandCanHave reports whether commands can be contained so here.
func commandCanHave(t *testing.T, how string) bool {
	t.Helper()
	c := commandShell("exit 0")
	c.Containment = how
	res, end := commandRun(t, c, commandBudget)
	if end.Err != nil {
		require.ErrorIs(t, end.Err, resources.ErrNotContained, "nothing else is a reason to do without")
		return false
	}
	require.True(t, strings.HasPrefix(res.Mechanism, how), "%s is %s", how, res.Mechanism)
	return true
}
