// Package actors is the runtime below package supervisor: the tree of actors, the way of
// a request through it, and the messages other actors speak to it.
//
//	root
//	├─ policy     publishes the policy in force as a snapshot that is read without asking
//	├─ reaper     keeps the book of leftovers and watches or retries each until it goes
//	├─ observer   hands events to a hook, never waited for
//	├─ session …  one long-lived resource each
//	└─ kind ── endpoint ── gate ── request
//
// # Requests by message
//
// Send a *Request to the root's PID with yourself as the sender, and get exactly one
// *Response; *Cancel stops a request by its ID. If the sender is an actor and stops, its
// requests are stopped.
//
// # Guarantees
//
// A request has one outcome, decided once, and one answer. Its operation runs on a
// goroutine of its own; nothing that may block, and no foreign code but a policy's pure
// rules and a resource's Spec, runs on a mailbox. The clean-up is triggered by the
// actor's stop and reported in its PostStop. A panic in an operation, a clean-up, a policy
// or a handler never breaks the tree.
//
// # What stands between this and protoactor-go
//
// The file seam.go, with the reasons: handlers that panic while stopping lose the stop,
// so every actor has a recovering base; supervisors stop what fails and never restart or
// escalate; futures, receive timeouts and bounded mailboxes are not used at all. Request
// actors are spawned on the caller's goroutine under a gate, with a synchronous
// dispatcher: a spawn costs no goroutine hop. Their deadline timers are an endpoint's alarms,
// of which the earliest alone has a timer of the Go runtime's. The mailbox of a request holds
// a Stop back, whoever sends it, until what the request held has gone, so that PostStop comes
// after it; a session and a service have a child, the holder, that they wait for instead.
package actors
