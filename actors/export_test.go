package actors

import "github.com/asynkron/protoactor-go/actor"

// NewMailbox makes a mailbox for tests.
func NewMailbox() actor.Mailbox { return &mailbox{} }

// Synchronous is the dispatcher of request actors.
type Synchronous = synchronous
