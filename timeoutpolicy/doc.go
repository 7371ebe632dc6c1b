// Package timeoutpolicy decides how long a request may take. A Policy is asked at each
// request and grants a Budget; rules are policies, composed left to right:
//
//	policy := timeoutpolicy.Compose(
//		timeoutpolicy.Fixed(30*time.Second),
//		timeoutpolicy.Reserve(time.Second),                  // the caller keeps a second to recover
//		timeoutpolicy.Cap(2*time.Second).Class("page"),      // pages are quick
//		timeoutpolicy.Stall(5*time.Second),
//	)
//
// Rules that grant (Fixed, Remaining, Until, Func) replace what was granted to their
// left; rules that cut (Reserve, Cap, Until) lower it; Least refuses; settings (Stall,
// Warn, Grace, Force) leave the limit alone; Fallback and For say when others are asked.
// Resolve settles the rest: the caller's explicit limit, its deadline, the defaults.
//
// # What Resolve promises
//
//   - A limit is positive. Zero and negative times are ErrTooLate, never "no limit", and
//     that nobody grants a limit is ErrNoLimit. No end at all has to be said: Unlimited.
//   - No limit exceeds what the caller has left, or the lowest cap that applies, whoever
//     granted it and wherever the cap stands among the rules.
//   - An explicit limit replaces what rules grant, and no rule that grants is asked for it.
//   - Budget.GrantedBy names what decided.
//   - An error comes with no budget at all.
//
// # Purity
//
// The package opens nothing, starts no goroutine and reads no clock: the time of asking
// is part of the Ask. Its rules do not wait, but for Func and what is composed with it;
// Blocks tells. Rules are values: many goroutines may ask one, and composing changes none.
package timeoutpolicy
