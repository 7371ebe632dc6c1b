package resources

import "time"

// Waits says how long the release of this use will wait: what is asked to go has grace, and
// what is forced has force. Zero is no wait. They are the defaults where nobody has said.
func (h *Held) Waits() (grace, force time.Duration) { return h.grace, h.force }

// Expect says, after Begin and before the use runs, what Release will be called with, for
// kinds that hand the ending of what they hold to somebody else: see Held.Waits.
func (k *Keeper) Expect(grace, force time.Duration) {
	k.held.grace, k.held.force = max(grace, 0), max(force, 0)
}
