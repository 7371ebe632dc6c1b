package actors

import "time"

// Roster is a roster as tests drive it: steps come back as words, "start a", "stop a",
// "wake", "drop a", "finish".
type Roster struct {
	r       *roster
	members map[string]*member
}

// NewRoster makes one of t's children, and starts them.
func NewRoster(t Tree, deadline, now time.Time) (*Roster, []string) {
	x := &Roster{newRoster("top", t, deadline, func() float64 { return 0 }), make(map[string]*member)}
	var steps []string
	for _, c := range t.Children {
		steps = append(steps, x.Add(c, now)...)
	}
	return x, steps
}

func (x *Roster) take() []string {
	var words []string
	for _, s := range x.r.take() {
		switch s.do {
		case stepStart:
			words = append(words, "start "+s.m.Name)
		case stepStop:
			words = append(words, "stop "+s.m.Name)
		case stepWake:
			words = append(words, "wake")
		case stepDropped:
			words = append(words, "drop "+s.m.Name)
		case stepFinish:
			words = append(words, "finish")
		}
	}
	return words
}

// Add, Exited and the rest are the roster's events.
func (x *Roster) Add(c Child, now time.Time) []string {
	x.members[c.Name] = x.r.add(c, now)
	return x.take()
}

func (x *Roster) Exited(name string, exit Exit, stuck bool, now time.Time) []string {
	if stuck {
		exit.left = []*straggler{nil}
	}
	x.r.exited(x.members[name], exit, now)
	return x.take()
}

func (x *Roster) Gone(name string, now time.Time) []string {
	x.r.gone(x.members[name], now)
	return x.take()
}

func (x *Roster) Wake(now time.Time) []string {
	if x.r.strategy != OneForOne {
		x.r.wake(nil, now)
		return x.take()
	}
	for _, m := range x.members {
		x.r.wake(m, now)
	}
	return x.take()
}

func (x *Roster) MovedOn(name string, now time.Time) []string {
	x.r.movedOn(x.members[name], now)
	return x.take()
}

func (x *Roster) Ask(name, what string, now time.Time) []string {
	x.r.ask(x.members[name], map[string]next{"stop": nextStay, "restart": nextAgain, "remove": nextRemove}[what], now)
	return x.take()
}

func (x *Roster) End(by, now time.Time) []string {
	x.r.end(Exit{Reason: ReasonShutdown}, by, now)
	return x.take()
}

// State is a member's state, as the tree prints it; empty when it is off the roster.
func (x *Roster) State(name string) string {
	if m := x.members[name]; m != nil && x.r.index(m) >= 0 {
		return m.state.String()
	}
	return ""
}

// Names are the members in start order.
func (x *Roster) Names() []string {
	var names []string
	for _, m := range x.r.members {
		names = append(names, m.Name)
	}
	return names
}

// Ended says why it ended, and whether it has.
func (x *Roster) Ended() (Exit, bool) { return x.r.exit, x.r.ended }

// Delay is a Backoff's wait.
func Delay(b Backoff, nth int, expired bool, random float64) time.Duration {
	return b.delay(nth, expired, random)
}
