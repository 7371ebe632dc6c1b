package actors

// Outcome is how a request ended. It is decided once.
type Outcome uint8

// The outcomes. The zero value is "not decided yet".
const (
	Undecided Outcome = iota
	Completed
	Failed
	Expired
	Cancelled
	Refused
	Panicked
)

var outcomeNames = [...]string{"undecided", "completed", "failed", "expired", "cancelled", "refused", "panicked"}

// String returns the name used in receipts.
func (o Outcome) String() string { return outcomeNames[o] }

// aborted reports whether clean-up hooks run.
func (o Outcome) aborted() bool { return o == Expired || o == Cancelled || o == Panicked }

// Phase is where a request was.
type Phase uint8

// The phases. The zero value is "none".
const (
	NoPhase Phase = iota
	Queued        // waiting for a slot of its endpoint; nothing was opened
	Opening       // opening the resource
	Running       // using it
	Stalled       // using it, without progress for longer than the budget's Stall
)

var phaseNames = [...]string{"", "queued", "opening", "running", "stalled"}

// String returns the name used in receipts; empty for NoPhase.
func (p Phase) String() string { return phaseNames[p] }
