// Package family looks after the children of this process: it tells which of them is the
// command that was started, adopts what that leaves behind, and ends the adopted.
//
// It is for a process whose only business is that one command, as the wait for a child
// and its adoption are facts about a whole process. On Linux it makes the process a child
// subreaper (PR_SET_CHILD_SUBREAPER, prctl(2)): a descendant whose parents have all gone
// is then given to this process and not to init, whatever session or group it has put
// itself into. Elsewhere it knows of no children, and does nothing.
package family

import "curfew.example/resources"

// Swept is what a Sweep found.
type Swept struct {
	Seen   int // adopted children that were there
	Killed int // of those, how many were killed and have gone
	Left   []resources.Leftover
}
