package tests

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"curfew.example/supervisor"
)

// The model below is the dumb version of a supervision tree: no actors, no messages, no
// time but a number that is added to. Something happens, and all that follows from it is
// worked out at once. The tree itself is driven through its public face in fake time, with
// pauses in which it comes to rest; then its log and the model's are compared.

// The times of the test. A pause is longer than anything that follows from one event.
const (
	treeFirst    = 50 * time.Millisecond
	treeMost     = 400 * time.Millisecond
	treeChild    = 100 * time.Millisecond // a child's Shutdown
	treeBudget   = 10 * time.Second       // a supervisor's
	treePeriod   = 30 * time.Second
	treePause    = 5 * time.Second
	treeStubborn = 12 * time.Hour // longer than a test
)

// treeEvent is one line of a log: a service that starts, or is stopped.
type treeEvent struct {
	at   time.Duration
	what string // "start" or "stop"
	path string
}

func (e treeEvent) String() string { return fmt.Sprintf("%8s %-5s %s", e.at, e.what, e.path) }

// treeNode is a supervisor or a service in the model, and what the real one is made from.
type treeNode struct {
	name     string
	up       *treeNode // nil for the top
	kids     []*treeNode
	spec     *treeNode // what it is started from anew: the kids it had in the beginning
	sup      bool
	strategy supervisor.Child // only Restart and Significant are used
	tree     supervisor.Tree  // only Strategy, Intensity and AutoShutdown are used
	stubborn bool
	wish     string // of one that is stuck, for when it has gone: "", "again", "forget"
	state    string // "down", "up", "stuck"
	row      int
	since    time.Duration
	hits     []time.Duration
	restarts int
	expiries int
	flaky    int // how many of the next starts end at once
	real     *treeService
}

func (n *treeNode) path() string {
	if n.up == nil {
		return n.name
	}
	return n.up.path() + "/" + n.name
}

// treeModel is the model and its log.
type treeModel struct {
	top  *treeNode
	log  []treeEvent
	over string // why the whole ended: "", "gave up", "normal", "terminated"
}

func (m *treeModel) note(at time.Duration, what string, n *treeNode) {
	m.log = append(m.log, treeEvent{at, what, n.path()})
}

// start starts n and all below it at once.
func (m *treeModel) start(n *treeNode, at time.Duration) {
	n.state, n.since = "up", at
	if !n.sup {
		m.note(at, "start", n)
		return
	}
	n.hits, n.kids = nil, slices.Clone(n.spec.kids)
	for _, k := range n.kids {
		*k = treeNode{name: k.name, up: n, spec: k.spec, sup: k.sup, strategy: k.strategy, tree: k.tree, stubborn: k.stubborn, flaky: k.flaky, real: k.real, state: "down"}
		m.start(k, at)
	}
}

// stop stops n, and what is below it the last started first. It returns when that is over.
func (m *treeModel) stop(n *treeNode, at time.Duration) time.Duration {
	if n.state != "up" {
		return at
	}
	n.state = "down"
	if !n.sup {
		m.note(at, "stop", n)
		if n.stubborn {
			n.state = "stuck"
			at += treeChild
		}
		return at
	}
	for _, k := range slices.Backward(n.kids) {
		at = m.stop(k, at)
	}
	if len(stuckBelow(n)) > 0 {
		n.state = "stuck"
	}
	return at
}

// stuckBelow lists the services that would not go.
func stuckBelow(n *treeNode) []string {
	if n.state == "stuck" && !n.sup {
		return []string{n.path()}
	}
	var all []string
	for _, k := range n.kids {
		all = append(all, stuckBelow(k)...)
	}
	return all
}

// ended works out what follows from the end of n by itself.
func (m *treeModel) ended(n *treeNode, reason string, at time.Duration) {
	if n.state == "up" {
		n.state = "down"
	}
	s := n.up
	if s == nil {
		m.over = reason
		return
	}
	stays := n.strategy.Restart == supervisor.Temporary || reason == "do not restart" ||
		n.strategy.Restart == supervisor.Transient && reason == "normal"
	switch {
	case reason == "terminated":
		m.end(s, "terminated", at)
	case stays:
		m.retired(n, at)
	case reason != "expired" && m.exceeded(s, at):
		m.end(s, "gave up", at)
	default:
		m.restart(n, reason, at)
	}
}

func (m *treeModel) retired(n *treeNode, at time.Duration) {
	s := n.up
	if n.strategy.Restart == supervisor.Temporary && n.state != "stuck" {
		s.kids = slices.DeleteFunc(s.kids, func(k *treeNode) bool { return k == n })
	}
	if !n.strategy.Significant {
		return
	}
	last := !slices.ContainsFunc(s.kids, func(k *treeNode) bool {
		return k != n && k.strategy.Significant && (k.state == "up" || k.wish == "again")
	})
	if s.tree.AutoShutdown == supervisor.AnySignificant || last {
		m.end(s, "normal", at)
	}
}

// end is the end of a supervisor by its own decision, and what follows above it.
func (m *treeModel) end(s *treeNode, reason string, at time.Duration) {
	at = m.stop(s, at)
	m.ended(s, reason, at)
}

func (m *treeModel) exceeded(s *treeNode, at time.Duration) bool {
	s.hits = append(s.hits, at)
	n := 0
	for _, hit := range s.hits {
		if at-hit <= treePeriod {
			n++
		}
	}
	return n > max(0, s.tree.Intensity)
}

func (m *treeModel) restart(n *treeNode, reason string, at time.Duration) {
	if at-n.since >= treeMost {
		n.row = 0
	}
	n.row++
	if reason == "expired" {
		n.expiries++
	} else {
		n.restarts++
	}
	begin := at + min(treeFirst<<(n.row-1), treeMost)
	taken := []*treeNode{n}
	s := n.up
	switch s.tree.Strategy {
	case supervisor.OneForAll:
		taken = slices.Clone(s.kids)
	case supervisor.RestForOne:
		taken = slices.Clone(s.kids[slices.Index(s.kids, n):])
	}
	free := at
	for _, k := range slices.Backward(taken) {
		if k == n {
			continue
		}
		free = m.stop(k, free)
		if k.strategy.Restart == supervisor.Temporary && k.state != "stuck" {
			s.kids = slices.DeleteFunc(s.kids, func(x *treeNode) bool { return x == k })
		}
	}
	begin = max(begin, free)
	for _, k := range taken {
		switch {
		case k.state != "stuck" || k.wish == "forget":
		case k != n && k.strategy.Restart == supervisor.Temporary:
			k.wish = "forget"
		default:
			k.wish = "again"
		}
		if k.state == "down" && (k == n || k.strategy.Restart != supervisor.Temporary) {
			row, restarts, expiries := k.row, k.restarts, k.expiries
			m.start(k, begin)
			k.row, k.restarts, k.expiries = row, restarts, expiries
		}
	}
	for _, k := range leavesOf(s) {
		if k.state == "up" && k.flaky > 0 && k.since == begin {
			k.flaky--
			m.ended(k, "failed", begin)
			return
		}
	}
}

// leavesOf lists the services below n that are on the books.
func leavesOf(n *treeNode) []*treeNode {
	if !n.sup {
		return []*treeNode{n}
	}
	var all []*treeNode
	for _, k := range n.kids {
		all = append(all, leavesOf(k)...)
	}
	return all
}

// treeService is the service behind a leaf. It does as it is told.
type treeService struct {
	run      *treeRun
	path     string
	stubborn bool
	orders   chan func() error
	flaky    int
}

// treeRun is a real tree and its log.
type treeRun struct {
	began  time.Time
	leaves []*treeNode // all that there ever were
	mu     sync.Mutex
	log    []treeEvent
}

func (r *treeRun) note(what, path string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, treeEvent{time.Since(r.began), what, path})
}

func (s *treeService) fails() bool {
	s.run.mu.Lock()
	defer s.run.mu.Unlock()
	if s.flaky == 0 {
		return false
	}
	s.flaky--
	return true
}

// Serve implements supervisor.Service.
func (s *treeService) Serve(ctx context.Context) error {
	s.run.note("start", s.path)
	if s.fails() {
		return errors.New("flaky")
	}
	select {
	case order := <-s.orders:
		return order()
	case <-ctx.Done():
		s.run.note("stop", s.path)
		if s.stubborn {
			time.Sleep(treeStubborn)
		}
		return ctx.Err()
	}
}

// treeAct is one thing done to a tree: drawn before it is known what there will be to do it
// to, which pick then chooses from.
type treeAct struct {
	op    string
	pick  int
	flaky int
	pause time.Duration
}

// drawTree draws a supervisor or a service.
func drawTree(t *rapid.T, name string, up *treeNode, depth int) *treeNode {
	n := &treeNode{name: name, up: up, state: "down"}
	n.strategy.Restart = rapid.SampledFrom([]supervisor.Child{{}, {}, {Restart: supervisor.Transient}, {Restart: supervisor.Temporary}}).Draw(t, "restart").Restart
	if up != nil && up.tree.AutoShutdown != supervisor.Never && n.strategy.Restart != supervisor.Permanent {
		n.strategy.Significant = rapid.Bool().Draw(t, "significant")
	}
	n.sup = up == nil || depth < 3 && rapid.IntRange(0, 3).Draw(t, "sup") == 0
	if !n.sup {
		n.stubborn = rapid.IntRange(0, 9).Draw(t, "stubborn") == 0
		n.spec = n
		return n
	}
	n.tree.Strategy = rapid.SampledFrom([]supervisor.Tree{{}, {Strategy: supervisor.OneForAll}, {Strategy: supervisor.RestForOne}}).Draw(t, "strategy").Strategy
	n.tree.Intensity = rapid.SampledFrom([]int{supervisor.NoRestarts, 1, 2, 3, 3}).Draw(t, "intensity")
	n.tree.AutoShutdown = rapid.SampledFrom([]supervisor.Tree{{}, {}, {AutoShutdown: supervisor.AnySignificant}, {AutoShutdown: supervisor.AllSignificant}}).Draw(t, "auto").AutoShutdown
	for i := range rapid.IntRange(1, 4).Draw(t, "kids") {
		n.kids = append(n.kids, drawTree(t, fmt.Sprint(string(rune('a'+i))), n, depth+1))
	}
	n.spec = &treeNode{kids: slices.Clone(n.kids)}
	return n
}

func drawActs(t *rapid.T) []treeAct {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) treeAct {
		return treeAct{
			op: rapid.SampledFrom([]string{
				"failed", "failed", "failed", "panics", "expired", "normal", "do not restart", "terminated",
				"stop", "restart", "remove", "add",
			}).Draw(t, "op"),
			pick:  rapid.IntRange(0, 1000).Draw(t, "pick"),
			flaky: rapid.SampledFrom([]int{0, 0, 0, 1, 2}).Draw(t, "flaky"),
			pause: treePause + time.Duration(rapid.IntRange(0, 3).Draw(t, "pause"))*treePause,
		}
	}), 1, 25).Draw(t, "acts")
}

// child makes the real thing of a node.
func (r *treeRun) child(n *treeNode) supervisor.Child {
	c := supervisor.Child{Name: n.name, Restart: n.strategy.Restart, Significant: n.strategy.Significant}
	if n.sup {
		t := r.tree(n)
		c.Tree = &t
		return c
	}
	n.real = &treeService{run: r, path: n.path(), stubborn: n.stubborn, orders: make(chan func() error)}
	c.Service, c.Shutdown = n.real, treeChild
	r.leaves = append(r.leaves, n)
	return c
}

func (r *treeRun) tree(n *treeNode) supervisor.Tree {
	t := n.tree
	t.Name, t.Period, t.Shutdown = n.name, treePeriod, treeBudget
	t.Backoff = supervisor.Backoff{First: treeFirst, Most: treeMost, Jitter: -1}
	for _, k := range n.kids {
		t.Children = append(t.Children, r.child(k))
	}
	return t
}

func TestTreesDoWhatThePlainModelSays(t *testing.T) {
	seen := map[string]int{}
	rapid.Check(t, func(rt *rapid.T) {
		top, acts := drawTree(rt, "top", nil, 0), drawActs(rt)
		var wrong string
		synctest.Test(t, func(t *testing.T) { wrong = playTree(t, top, acts, seen) })
		if wrong != "" {
			rt.Fatal(wrong)
		}
	})
	t.Log(seen)
	for _, what := range []string{"gave up", "stuck", "expired", "restart", "add"} {
		require.NotZero(t, seen[what], "no tree in which: %s", what)
	}
}

// playTree plays acts to a tree and to the model, and says where they differ.
func playTree(t *testing.T, top *treeNode, acts []treeAct, seen map[string]int) string {
	sup, err := supervisor.Start()
	require.NoError(t, err)
	run, m := &treeRun{began: time.Now()}, &treeModel{top: top}
	g, err := sup.Grow(t.Context(), run.tree(top))
	require.NoError(t, err)
	m.start(top, 0)
	wrong := differ(run, m)
	for i, act := range acts {
		if wrong != "" || m.over != "" {
			break
		}
		time.Sleep(act.pause)
		seen[act.op]++
		done := m.act(run, g, act, i)
		time.Sleep(treePause) // until it has come to rest
		if wrong = cmp.Or(done, differ(run, m), sameCounts(g.View(), top)); wrong != "" {
			wrong = fmt.Sprintf("act %d, %s:\n%s\n%s", i, act.op, wrong, g)
		}
	}
	wrong = cmp.Or(wrong, endTree(run, m, g, seen))
	time.Sleep(treeStubborn)
	time.Sleep(time.Second)
	if wrong == "" && len(sup.Leftovers()) > 0 {
		wrong = "leftovers that have gone are still on the books"
	}
	_ = sup.Close()
	time.Sleep(time.Second)
	return wrong
}

// endTree stops the tree, unless it has ended, and compares the reports.
func endTree(run *treeRun, m *treeModel, g *supervisor.Grown, seen map[string]int) string {
	seen[m.over]++
	if m.over == "" {
		m.stop(m.top, time.Since(run.began))
		_ = g.Stop(0)
	}
	select {
	case <-g.Done():
	default:
		_ = g.Stop(0)
		return fmt.Sprintf("over %q, and not stopped\n%s\n%s", m.over, g, lines(run.log))
	}
	err := g.Wait()
	var gaveUp *supervisor.GaveUpError
	switch {
	case (m.over == "gave up") != errors.As(err, &gaveUp):
		return fmt.Sprintf("over %q, but Wait says %v", m.over, err)
	case (m.over == "terminated") != errors.Is(err, supervisor.ErrTerminateTree):
		return fmt.Sprintf("over %q, but Wait says %v", m.over, err)
	}
	var names []string
	var stop *supervisor.StopError
	if errors.As(err, &stop) {
		for _, s := range stop.Stuck {
			names = append(names, s.Path)
			if !strings.Contains(s.Stack, "treeService).Serve") {
				return fmt.Sprintf("the stack of %s: %q", s.Path, s.Stack)
			}
		}
	}
	want := stuckBelow(m.top)
	seen["stuck"] += len(want)
	slices.Sort(names)
	slices.Sort(want)
	if !slices.Equal(names, want) {
		return fmt.Sprintf("stuck are %v, not %v", names, want)
	}
	return differ(run, m)
}

// act does one thing to the tree, and works out what follows from it in the model.
func (m *treeModel) act(run *treeRun, g *supervisor.Grown, act treeAct, i int) string {
	now := time.Since(run.began)
	run.mu.Lock()
	for _, n := range run.leaves { // what an earlier act did not use up
		n.flaky, n.real.flaky = 0, 0
	}
	run.mu.Unlock()
	switch act.op {
	case "stop", "restart", "remove", "add":
		return m.change(run, g, act, i, now)
	}
	var up []*treeNode
	for _, n := range leavesOf(m.top) {
		if n.state == "up" {
			up = append(up, n)
		}
	}
	if len(up) == 0 {
		return ""
	}
	n := up[act.pick%len(up)]
	run.mu.Lock()
	n.flaky, n.real.flaky = act.flaky, act.flaky
	run.mu.Unlock()
	reason := act.op
	n.real.orders <- map[string]func() error{
		"failed":         func() error { return errors.New("broken") },
		"panics":         func() error { panic("broken") },
		"expired":        func() error { return fmt.Errorf("a slow site: %w", context.DeadlineExceeded) },
		"normal":         func() error { return nil },
		"do not restart": func() error { return supervisor.ErrDoNotRestart },
		"terminated":     func() error { return supervisor.ErrTerminateTree },
	}[reason]
	m.ended(n, reason, now)
	return ""
}

// change is a user's wish: to stop, start again, forget or add a child.
func (m *treeModel) change(run *treeRun, g *supervisor.Grown, act treeAct, i int, now time.Duration) string {
	var sups, kids []*treeNode
	var walk func(*treeNode)
	walk = func(n *treeNode) {
		if !n.sup || n.state != "up" {
			return
		}
		sups, kids = append(sups, n), append(kids, n.kids...)
		for _, k := range n.kids {
			walk(k)
		}
	}
	walk(m.top)
	if act.op == "add" {
		s := sups[act.pick%len(sups)]
		n := &treeNode{name: fmt.Sprintf("new%d", i), up: s, state: "down"}
		n.spec = n
		c := run.child(n)
		c.Name = below(n)
		s.kids = append(s.kids, n)
		m.start(n, now)
		return text(g.Start(c))
	}
	if len(kids) == 0 {
		return ""
	}
	n := kids[act.pick%len(kids)]
	end := m.stop(n, now)
	forget := act.op == "remove" || act.op == "stop" && n.strategy.Restart == supervisor.Temporary
	var err error
	switch act.op {
	case "stop":
		err = g.StopChild(below(n))
	case "remove":
		err = g.Remove(below(n))
	case "restart":
		err = g.Restart(below(n))
		if n.state == "down" {
			row, restarts, expiries := n.row, n.restarts, n.expiries
			m.start(n, end)
			n.row, n.restarts, n.expiries = row, restarts, expiries
		}
	}
	if forget && n.state == "down" {
		n.up.kids = slices.DeleteFunc(n.up.kids, func(k *treeNode) bool { return k == n })
	}
	switch {
	case n.state != "stuck":
	case forget:
		n.wish = "forget"
	case act.op == "restart":
		n.wish = "again"
	default:
		n.wish = ""
	}
	var stop *supervisor.StopError
	if (n.state == "stuck") != errors.As(err, &stop) || n.state != "stuck" && err != nil {
		return fmt.Sprintf("%s of %s, which is %s: %v", act.op, n.path(), n.state, err)
	}
	return ""
}

// below is a node's path as Grown knows it: without the top.
func below(n *treeNode) string {
	_, path, _ := strings.Cut(n.path(), "/")
	return path
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// differ compares the logs: stops in their order, starts at their times (in what order
// goroutines that are started together come to work is nobody's promise).
func differ(run *treeRun, m *treeModel) string {
	synctest.Wait()
	run.mu.Lock()
	defer run.mu.Unlock()
	for _, what := range []string{"stop", "start"} {
		got, want := eventsOf(run.log, what), eventsOf(m.log, what)
		if !slices.Equal(got, want) {
			return fmt.Sprintf("%ss differ, got\n%s\nwant\n%s", what, lines(got), lines(want))
		}
	}
	return ""
}

func eventsOf(log []treeEvent, what string) []treeEvent {
	var all []treeEvent
	for _, e := range log {
		if e.what == what {
			all = append(all, e)
		}
	}
	if what == "start" {
		slices.SortFunc(all, func(a, b treeEvent) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.path, b.path)) })
	}
	return all
}

func lines(log []treeEvent) string {
	var b strings.Builder
	for _, e := range log {
		fmt.Fprintln(&b, e)
	}
	return b.String()
}

// sameCounts compares what the tree prints with the model: who is where, and the restarts.
func sameCounts(v supervisor.Node, n *treeNode) string {
	if n.state != "up" {
		return ""
	}
	if len(v.Children) != len(n.kids) {
		return fmt.Sprintf("%s has %d children, not %d", n.path(), len(v.Children), len(n.kids))
	}
	state := map[string]string{"up": "running", "down": "stopped", "stuck": "stuck"}
	for i, k := range n.kids {
		c := v.Children[i]
		if c.Name != k.name || c.State != state[k.state] || c.Restarts != k.restarts || c.Expiries != k.expiries {
			return fmt.Sprintf("%s is %s, %s, restarts %d, expiries %d; not %s, %d, %d",
				k.path(), c.Name, c.State, c.Restarts, c.Expiries, state[k.state], k.restarts, k.expiries)
		}
		if wrong := sameCounts(c, k); k.sup && wrong != "" {
			return wrong
		}
	}
	return ""
}
