package actors

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Node is a supervisor or a child as it stood at one moment: what a tree prints. It is a
// value; whoever has it may change it.
type Node struct {
	Name     string         `json:"name"`
	Kind     string         `json:"kind"`               // "tree", "service" or "actor"
	State    string         `json:"state"`              // "running", "stopping", "stopped", "waiting" (for its back-off) or "stuck"
	Strategy string         `json:"strategy,omitempty"` // of a tree
	Restart  string         `json:"restart,omitempty"`  // of a child
	Rest     *time.Duration `json:"rest_ns"`            // of its budget; nil when it has no limit
	Restarts int            `json:"restarts"`           // those that were counted
	Expiries int            `json:"expiries"`           // restarts after an expiry, which are not
	Reason   string         `json:"reason,omitempty"`   // why it ended last
	Error    string         `json:"error,omitempty"`    // and with what
	Children []Node         `json:"children,omitempty"` // in start order
}

// View returns the tree as it stands. Each supervisor in it is seen at one moment, the
// whole at moments very close together.
func (g *Grown) View() Node {
	n := g.tree.view(time.Now())
	n.Name, n.State = g.tree.spec.Name, "running"
	select {
	case <-g.tree.done:
		n.State, n.Rest = "stopped", nil
	default:
		if n.Reason != "" {
			n.State = "stopping"
		}
	}
	return n
}

// String draws the tree, a line a child.
func (g *Grown) String() string { return g.View().String() }

// MarshalJSON writes the tree as a Node: lengths of time are nanoseconds.
func (g *Grown) MarshalJSON() ([]byte, error) { return json.Marshal(g.View()) }

// view describes the supervisor, then, without its lock, those below it.
func (t *tree) view(now time.Time) Node {
	t.mu.Lock()
	n := Node{
		Kind: "tree", Strategy: t.spec.Strategy.String(),
		Rest: restOf(t.roster.deadline, now),
	}
	n.ended(t.roster.exit)
	var below []*tree
	for _, m := range t.roster.members {
		b := t.branches[m.Name]
		n.Children = append(n.Children, b.view(now))
		sub, _ := b.limb.(*tree)
		below = append(below, sub)
	}
	t.mu.Unlock()
	for i, sub := range below {
		if sub != nil {
			s := sub.view(now)
			n.Children[i].Strategy, n.Children[i].Children = s.Strategy, s.Children
			if n.Children[i].State == memberRunning.String() {
				n.Children[i].Rest = s.Rest
			}
		}
	}
	return n
}

// view describes a child. Called with its supervisor's mu held.
func (b *branch) view(now time.Time) Node {
	n := Node{
		Name: b.m.Name, State: b.m.state.String(), Restart: b.m.Restart.String(),
		Restarts: b.m.restarts, Expiries: b.m.expiries,
	}
	switch {
	case b.m.Service != nil:
		n.Kind = "service"
	case b.m.Props != nil:
		n.Kind = "actor"
	default:
		n.Kind = "tree"
	}
	if b.m.state == memberRunning || b.m.state == memberStopping {
		n.Rest = restOf(b.deadline, now)
	}
	n.ended(b.m.last)
	return n
}

func (n *Node) ended(exit Exit) {
	n.Reason = exit.Reason.String()
	if exit.Err != nil {
		n.Error = exit.Err.Error()
	}
}

func restOf(deadline, now time.Time) *time.Duration {
	if deadline.IsZero() {
		return nil
	}
	return ptr(max(0, deadline.Sub(now)))
}

// String draws the node and what is below it.
func (n Node) String() string {
	var b strings.Builder
	n.draw(&b, "", "")
	return b.String()
}

// draw writes the node's line after first, and those below it after rest.
func (n Node) draw(b *strings.Builder, first, rest string) {
	b.WriteString(first + n.line() + "\n")
	for i, c := range n.Children {
		if i < len(n.Children)-1 {
			c.draw(b, rest+"├─ ", rest+"│  ")
		} else {
			c.draw(b, rest+"└─ ", rest+"   ")
		}
	}
}

// line says what there is to say of one node.
func (n Node) line() string {
	parts := []string{n.Name}
	if n.Strategy != "" {
		parts = append(parts, "("+n.Strategy+")")
	}
	parts = append(parts, n.State)
	if n.Rest != nil {
		parts = append(parts, "rest "+round(*n.Rest).String())
	}
	if n.Restarts > 0 {
		parts = append(parts, fmt.Sprintf("restarts %d", n.Restarts))
	}
	if n.Expiries > 0 {
		parts = append(parts, fmt.Sprintf("expiries %d", n.Expiries))
	}
	if n.Reason != "" {
		parts = append(parts, "last "+strings.TrimSuffix(n.Reason+": "+n.Error, ": "))
	}
	return strings.Join(parts, "  ")
}
