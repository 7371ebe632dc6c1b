package remote

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"curfew.example/actors"
	"curfew.example/resources"
	"curfew.example/timeoutpolicy"
)

// encodeReceipt writes a receipt in the schema curfew.receipt/1; none is empty.
func encodeReceipt(r *actors.Receipt) []byte {
	if r == nil {
		return nil
	}
	text, _ := json.Marshal(r) // plain numbers and texts: nothing to fail
	return text
}

// decodeReceipt reads what encodeReceipt wrote. Unlimited and none are both null there: a
// limit that is null is unlimited if somebody granted it, other lengths are none.
func decodeReceipt(text []byte) (*actors.Receipt, error) {
	if len(text) == 0 {
		return nil, nil
	}
	var f actors.ReceiptFields
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, fmt.Errorf("receipt: %w", err)
	}
	if f.Schema != actors.ReceiptSchema {
		return nil, errors.New("receipt: of an unknown schema")
	}
	r := &actors.Receipt{
		Kind: f.Kind, Target: f.Target, Outcome: outcomeOf(f.Outcome), Phase: phaseOf(orEmpty(f.Phase)), Error: orEmpty(f.Error),
		Budget: timeoutpolicy.Budget{
			Limit: length(f.Budget.LimitNS), Stall: length(f.Budget.StallNS),
			Grace: length(f.Budget.GraceNS), Force: length(f.Budget.ForceNS), GrantedBy: f.GrantedBy,
		},
		Used: time.Duration(f.UsedNS), Lateness: length(f.LatenessNS),
		Phases: actors.Phases{
			Queued: time.Duration(f.PhasesNS.Queued), Opening: time.Duration(f.PhasesNS.Opening),
			Running: time.Duration(f.PhasesNS.Running), Cleanup: time.Duration(f.PhasesNS.Cleanup),
		},
		Cleanup: actors.Cleanup{Took: time.Duration(f.Cleanup.TookNS), Mechanism: f.Cleanup.Mechanism},
	}
	if f.Budget.LimitNS == nil && f.GrantedBy != "" {
		r.Budget.Limit = timeoutpolicy.Unlimited
	}
	for _, p := range f.Cleanup.Released {
		release := resources.Release{What: p.What, How: p.How, Took: time.Duration(p.TookNS)}
		if p.Error != "" {
			release.Err = errors.New(p.Error)
		}
		r.Cleanup.Released = append(r.Cleanup.Released, release)
	}
	for _, l := range f.Leftover {
		r.Leftover = append(r.Leftover, resources.Leftover(l))
	}
	return r, nil
}

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func length(ns *int64) time.Duration {
	if ns == nil {
		return 0
	}
	return time.Duration(*ns)
}

// outcomeOf reads an outcome's name; an unknown one is Undecided.
func outcomeOf(name string) actors.Outcome {
	for o := actors.Undecided; o <= actors.Panicked; o++ {
		if o.String() == name {
			return o
		}
	}
	return actors.Undecided
}

// phaseOf reads a phase's name; an unknown one is NoPhase.
func phaseOf(name string) actors.Phase {
	for p := actors.NoPhase; p <= actors.Stalled; p++ {
		if p.String() == name {
			return p
		}
	}
	return actors.NoPhase
}
