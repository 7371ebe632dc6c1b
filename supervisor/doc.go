// Package supervisor runs uses of things outside the process (an HTTP fetch, a
// subprocess, a socket, an XML-RPC session, a plain function) under deadlines, each as
// an actor, each with a clean-up that is proved before the caller hears back.
//
//	sup, err := supervisor.Start(supervisor.WithPolicy(timeoutpolicy.Fixed(10 * time.Second)))
//	defer sup.Close()
//	page, err := supervisor.Do(ctx, sup, resources.Fetch{URL: u})
//
// # The promise
//
// When a call returns, what it held is gone: the socket closed, the process dead and
// reaped, the goroutine back. Where something would not die, the error names it, and it
// stays on the books (Leftovers) until it does.
//
// # Time
//
// The deadline is a point in time, fixed once, when the request is submitted: waiting for
// a slot counts. It comes from Within, or else from the policy, and never lies beyond the
// context's own, which also suffices alone. Nobody granting a limit is ErrNoLimit; a limit
// of zero or less is ErrTooLate; neither ever means "no limit", which has to be said
// (timeoutpolicy.Unlimited).
//
// At expiry the resource is asked to close, which is what brings blocked work back; after
// Grace it is forced; after Force the answer comes whatever is left. So a caller is never
// held beyond Limit + Grace + Force, and hears as soon as the clean-up is done: for a
// socket, within a millisecond.
//
// # What Do returns
//
//	completed                              the value, nil
//	Fetch 4xx/5xx, Command exited non-zero the result, *resources.StatusError / *resources.ExitError
//	any limit ended it                     what there is of the result, *Expired
//	cancelled, or the supervisor closed    what there is, *Cancelled
//	panic or Goexit in the operation       zero, *Panicked
//	refused                                zero, ErrNoLimit, ErrTooLate, ErrOverloaded, ErrClosed
//	bad input                              zero, *Invalid
//	completed, but the release failed      the value, *Unreleased
//	any other failure                      zero, the resource's own error
//
// On every outcome WithReceipt tells what was held and how it went.
//
// # Clean-up hooks
//
// A hook (Func's Cleanup, a kind's Held.OnAbort) runs once when a request that was started
// expires, is cancelled or panics; never after a success or a plain error, never for work
// that was not started. Its error or panic joins the timeout and does not hide it; if it
// hangs, it is a leftover.
//
// # Sessions and adapters
//
// Open opens what lives longer than one request. Transport, Handler, Dialer, Conn, Command
// and Group stand in for what net/http, net, os/exec and errgroup have. Requests by message
// go to PID.
//
// # Trees
//
// Grow grows a supervision tree of services, sessions (Hold), plain actors and subtrees, in
// OTP's words with their meanings: see Tree and Child. Children are started in order and
// stopped in the reverse. No child holds its supervisor up: Serve and an actor's producer
// have goroutines of their own, and one that does not stop in its time is given up, named
// with its stack, and started again only once it has gone. A limit that is over, and a
// request of a service's that expired, is no crash: it spends no restart.
//
// One budget bounds the stop of a whole tree. The next child is asked when the last has
// stopped, or has had an equal part of what is left of the budget; who has not gone at the
// end of its own Shutdown, or of the budget, is in the report. What a tree looks like it says
// itself: String, MarshalJSON.
//
// A service of suture's is one here as it stands. Its Supervisor's Add is Child or
// Grown.Start, and Remove is Grown.Remove; ErrDoNotRestart has the same name, and
// ErrTerminateSupervisorTree is ErrTerminateTree (return these, not suture's own);
// in the place of FailureThreshold, FailureDecay and FailureBackoff stand Tree's Intensity
// and Period, beyond which the supervisor gives up rather than pauses, and Backoff, before
// each restart; Timeout is Shutdown; UnstoppedServiceReport is *StopError.
//
// # What is not promised
//
// A Go function cannot be stopped from outside: one that ignores its context and its
// clean-up is answered for on time, named as a leftover, and counted against its
// endpoint's cap until it comes back. The clock is the monotonic one, which stands still
// while the machine is suspended.
//
// # Testing
//
// In a bubble of testing/synctest all of it keeps to the bubble's clock, to the nanosecond.
// Start the supervisor inside the bubble, and close it there: its requests share timers and
// channels, which are of one bubble, or of none.
//
// # Cost
//
// A Do of a function that returns at once takes twice the CPU of a bare goroutine
// with a context and a select, and 9 allocations; a session's call 12. A request that
// expires takes 1.6 times the CPU of theirs, the clean-up included. An outstanding request
// takes 4 kB, its goroutine included, and 4 more where a caller waits for it. Starting a
// supervisor makes an actor system: some 4 ms, once a process. Under shares one: best one of
// actors.NewSystem, as with the registry that protoactor makes each Do takes a third more.
package supervisor
