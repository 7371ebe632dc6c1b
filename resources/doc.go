// Package resources holds the kinds of thing outside the process that a program opens,
// uses and must release: Func, Fetch, Command, Socket, and the sessions XMLRPC, Coprocess and
// Connection. Each is plain data, and one use of it; package supervisor runs it under a deadline.
//
// # A kind of your own
//
// Implement Resource: Spec describes it without opening anything, Run opens it, registers
// with Held each piece before it can block on it, uses it, and returns soon once its
// context has ended or a piece was closed under it. Package resourcetest has the suite that
// every kind passes.
//
// # How pieces go
//
// When a use ends, whatever the outcome, hooks (after an expiry, a cancel or a panic only)
// and then pieces are closed, last in first out; what is not gone after Grace is forced;
// what is not gone after Force is reported as left. Errors that say "closed already" count
// as gone. A panic or Goexit in a Close is an error of it. What is registered after the end
// is closed at once.
package resources
