package resources

import (
	"context"
	"fmt"
)

// MulticallShape is how a server returns the results of system.multicall: its
// specification boxes each in an array of one element, supervisord does not. Faults are
// structs in both.
type MulticallShape string

const (
	// MulticallAsk finds it out, with one more call at the end of each multicall,
	// whose result is known to be a text: system.methodHelp of system.multicall. On
	// a server that has no such method the results decide, where they can: when each
	// is an array of one element they are taken to be boxed.
	MulticallAsk   MulticallShape = ""
	MulticallBoxed MulticallShape = "boxed" // Python, and most servers
	MulticallBare  MulticallShape = "bare"  // supervisord
)

// MulticallCall is one call of a multicall, as for XMLRPCSession.Call.
type MulticallCall struct {
	Method string
	Args   []any
	Reply  any // may be nil
}

// MulticallResult is what one call of a multicall came to.
type MulticallResult struct {
	Value any   // the result, untyped; nil when there is an error
	Err   error // *Fault, or *XMLRPCAnswerError when Value does not fit Reply
}

// Multicall makes many calls in one exchange, by the server's system.multicall, and
// returns their results in order. A failed call among them is its own result's Err;
// Multicall's error is one of the exchange as a whole, as Call's, and no Reply is
// touched then. Without calls nothing is sent.
func (s *XMLRPCSession) Multicall(ctx context.Context, calls []MulticallCall) ([]MulticallResult, error) {
	if len(calls) == 0 {
		return nil, nil
	}
	list, err := s.conf.multicallArgs(calls)
	if err != nil {
		return nil, err
	}
	value, done, err := s.do(ctx, "system.multicall", []any{list})
	if !done {
		return nil, err
	}
	results, bad := s.conf.multicallResults(value, len(calls))
	if bad != nil {
		return nil, bad
	}
	for i := range results {
		if r := &results[i]; r.Err == nil {
			r.Err = fillReply(calls[i].Reply, r.Value)
		}
	}
	return results, err
}

// multicallArgs makes the one argument of system.multicall.
func (x XMLRPC) multicallArgs(calls []MulticallCall) ([]any, error) {
	list := make([]any, 0, len(calls)+1)
	add := func(method string, args []any) {
		list = append(list, map[string]any{"methodName": method, "params": append([]any{}, args...)})
	}
	for i, c := range calls {
		if c.Method == "" {
			return nil, &Invalid{Kind: "xmlrpc", Field: fmt.Sprintf("calls[%d].Method", i), Why: "empty"}
		}
		if err := checkReply(c.Reply); err != nil {
			return nil, &Invalid{Kind: "xmlrpc", Field: fmt.Sprintf("calls[%d].Reply", i), Why: "not a pointer that something can be stored in"}
		}
		add(c.Method, c.Args)
	}
	if x.Shape == MulticallAsk {
		add("system.methodHelp", []any{"system.multicall"})
	}
	return list, nil
}

// multicallResults takes the answer of system.multicall apart into n results.
func (x XMLRPC) multicallResults(value any, n int) ([]MulticallResult, error) {
	list, ok := value.([]any)
	want := n
	if x.Shape == MulticallAsk {
		want++
	}
	if !ok || len(list) != want {
		return nil, badAnswer("not as many results as calls in the multicall", nil)
	}
	boxed := x.Shape == MulticallBoxed || x.Shape == MulticallAsk && looksBoxed(list[:n], list[n])
	results := make([]MulticallResult, n)
	for i, v := range list[:n] {
		results[i] = multicallResult(v, boxed)
	}
	return results, nil
}

// looksBoxed tells the shape by the result of the call that asked for it, and by the
// others when that failed.
func looksBoxed(results []any, asked any) bool {
	if _, failed := xmlrpcFault(asked); !failed {
		return isBox(asked)
	}
	for _, v := range results {
		if _, failed := xmlrpcFault(v); !failed && !isBox(v) {
			return false
		}
	}
	return true
}

func isBox(v any) bool {
	a, ok := v.([]any)
	return ok && len(a) == 1
}

func multicallResult(v any, boxed bool) MulticallResult {
	if f, failed := xmlrpcFault(v); failed {
		return MulticallResult{Err: f}
	}
	if !boxed {
		return MulticallResult{Value: v}
	}
	if !isBox(v) {
		return MulticallResult{Err: badAnswer("a result of a multicall that is not boxed", nil)}
	}
	return MulticallResult{Value: v.([]any)[0]}
}
