package actors

import (
	"encoding/json"
	"time"

	"curfew.example/resources"
	"curfew.example/timeoutpolicy"
)

// ReceiptSchema names the JSON form of a Receipt.
const ReceiptSchema = "curfew.receipt/1"

// Receipt says what a request held, how and when each piece was released, and what is
// left over. It is a value: nobody changes it after it was handed out.
type Receipt struct {
	Kind     string
	Target   string // scheme://host:port or a program's name; never arguments, userinfo or query
	Outcome  Outcome
	Phase    Phase  // where the request was when it expired or was cancelled
	Error    string // empty after a success
	Budget   timeoutpolicy.Budget
	Used     time.Duration // from submission to answer
	Lateness time.Duration // from deadline to answer; 0 unless expired by the deadline
	Phases   Phases
	Cleanup  Cleanup
	Leftover []resources.Leftover
}

// Phases is the time spent in each phase. Stalling is part of Running.
type Phases struct{ Queued, Opening, Running, Cleanup time.Duration }

// Cleanup is what the release of a request's pieces did.
type Cleanup struct {
	Took      time.Duration
	Mechanism string // by what the pieces were ended: "close", "group", "guard by force" …; empty when nothing was held
	Released  []resources.Release
}

// MarshalJSON writes the receipt in the schema curfew.receipt/1: lengths of time are
// nanoseconds, null where there is none.
func (r *Receipt) MarshalJSON() ([]byte, error) { return json.Marshal(r.Fields()) }

// ReceiptFields is the JSON form of a Receipt, for those who add fields of their own.
type ReceiptFields struct {
	Schema     string           `json:"schema"`
	Kind       string           `json:"kind"`
	Target     string           `json:"target"`
	Outcome    string           `json:"outcome"`
	Phase      *string          `json:"phase"`
	Error      *string          `json:"error"`
	Budget     budgetFields     `json:"budget"`
	GrantedBy  string           `json:"granted_by"`
	BudgetNS   *int64           `json:"budget_ns"`
	UsedNS     int64            `json:"used_ns"`
	LatenessNS *int64           `json:"lateness_ns"`
	PhasesNS   phaseFields      `json:"phases_ns"`
	Cleanup    cleanupFields    `json:"cleanup"`
	Leftover   []leftoverFields `json:"leftover"`
}

type budgetFields struct {
	LimitNS *int64 `json:"limit_ns"`
	StallNS *int64 `json:"stall_ns"`
	GraceNS *int64 `json:"grace_ns"`
	ForceNS *int64 `json:"force_ns"`
}

type phaseFields struct {
	Queued  int64 `json:"queued"`
	Opening int64 `json:"opening"`
	Running int64 `json:"running"`
	Cleanup int64 `json:"cleanup"`
}

type cleanupFields struct {
	TookNS    int64            `json:"took_ns"`
	Mechanism string           `json:"mechanism"`
	Released  []releasedFields `json:"released"`
}

type releasedFields struct {
	What   string `json:"what"`
	How    string `json:"how"`
	TookNS int64  `json:"took_ns"`
	Error  string `json:"error,omitempty"`
}

type leftoverFields struct {
	What  string `json:"what"`
	Why   string `json:"why"`
	PID   int    `json:"pid,omitempty"`
	Start string `json:"start,omitempty"`
	State string `json:"state,omitempty"`
}

// Fields returns the JSON form of the receipt.
func (r *Receipt) Fields() ReceiptFields {
	f := ReceiptFields{
		Schema: ReceiptSchema, Kind: r.Kind, Target: r.Target, Outcome: r.Outcome.String(),
		Budget: budgetFields{
			LimitNS: lengthOrNull(r.Budget.Limit), StallNS: lengthOrNull(r.Budget.Stall),
			GraceNS: lengthOrNull(r.Budget.Grace), ForceNS: lengthOrNull(r.Budget.Force),
		},
		GrantedBy: r.Budget.GrantedBy,
		BudgetNS:  lengthOrNull(r.Budget.Limit),
		UsedNS:    int64(r.Used),
		PhasesNS: phaseFields{
			Queued: int64(r.Phases.Queued), Opening: int64(r.Phases.Opening),
			Running: int64(r.Phases.Running), Cleanup: int64(r.Phases.Cleanup),
		},
		Cleanup:  cleanupFields{TookNS: int64(r.Cleanup.Took), Mechanism: r.Cleanup.Mechanism, Released: []releasedFields{}},
		Leftover: []leftoverFields{},
	}
	if r.Phase != NoPhase {
		f.Phase = ptr(r.Phase.String())
	}
	if r.Error != "" {
		f.Error = ptr(r.Error)
	}
	if r.Outcome == Expired {
		f.LatenessNS = ptr(int64(r.Lateness))
	}
	for _, p := range r.Cleanup.Released {
		rf := releasedFields{What: p.What, How: p.How, TookNS: int64(p.Took)}
		if p.Err != nil {
			rf.Error = p.Err.Error()
		}
		f.Cleanup.Released = append(f.Cleanup.Released, rf)
	}
	for _, l := range r.Leftover {
		f.Leftover = append(f.Leftover, leftoverFields(l))
	}
	return f
}

// lengthOrNull is null for what is unlimited, none or not set.
func lengthOrNull(d time.Duration) *int64 {
	if d <= 0 || d == timeoutpolicy.Unlimited {
		return nil
	}
	return ptr(int64(d))
}

func ptr[T any](v T) *T { return &v }

// mechanism sums up by what the pieces went.
func mechanism(released []resources.Release) string {
	s := ""
	for _, r := range released {
		switch {
		case r.How == "hook" && s == "":
			s = r.How
		case r.How == "hook" || r.How == s:
		case s == "" || s == "hook":
			s = r.How
		default:
			s += "," + r.How
		}
	}
	return s
}
