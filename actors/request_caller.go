package actors

// bell wakes a caller. It has been other callers' before, and may be rung late for one of
// them: whoever it wakes looks whether there is anything to do.
type bell chan struct{}

// ring does not wait: where it has not been heard yet, it needs no second time.
func (b bell) ring() {
	select {
	case b <- struct{}{}:
	default:
	}
}

// still takes back what has not been heard.
func (b bell) still() {
	select {
	case <-b:
	default:
	}
}

// await is the waiting caller: it stops the actor of a request whose operation is done, or
// whose release is, and gives the caller's context its say. It returns when the request is
// answered, which is at the latest Limit plus Grace plus Force after the submission.
func (r *request) await() {
	gone := r.op.caller.Done()
	for !r.answered.Load() {
		if gone == nil {
			<-r.bell
			r.awake()
			continue
		}
		select {
		case <-r.bell:
			r.awake()
		case <-gone:
			gone = nil
			r.callerGone()
		}
	}
}

// awake does what a request has woken its caller for, unless that is the answer.
func (r *request) awake() {
	if r.answered.Load() {
		return
	}
	r.mu.Lock()
	released, done := r.report != nil, r.back && !r.halted
	r.mu.Unlock()
	switch {
	case released:
		r.mail.PostSystemMessage(stopMessage)
	case done:
		r.stop()
	}
}
