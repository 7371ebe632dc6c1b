package actors

import "sync"

// latch is a sync.Mutex for what is held for less than a microsecond. It is tried for about
// as long before its goroutine waits: a sync.Mutex does not spin on a processor that has
// other goroutines to run, and from a wait of a millisecond on it is handed over in turn, for
// which each in the queue has to have its turn of a processor. Under load every request of an
// endpoint would wait for that, three times. The zero value is unlocked.
type latch struct{ mutex sync.Mutex }

const latchTries = 1000

func (l *latch) Lock() {
	for range latchTries {
		if l.mutex.TryLock() {
			return
		}
	}
	l.mutex.Lock()
}

func (l *latch) Unlock() { l.mutex.Unlock() }
