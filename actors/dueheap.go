package actors

import "time"

// dueHeap holds alarms, the first due at the front: a heap in which each has four below it.
// container/heap's two, without the times at hand, cost half a microsecond for each of
// 10,000 alarms that go off: a miss of the cache for every request on the way down.
type dueHeap []dueAlarm

// dueAlarm is one that is set. Its request knows where it is.
type dueAlarm struct {
	at      time.Duration // after alarms.start
	request *request
}

const dueWidth = 4

// set puts r's alarm in, or to another time.
func (h *dueHeap) set(r *request, at time.Duration) {
	i := int(r.alarm.place) - 1
	if i < 0 {
		i = len(*h)
		*h = append(*h, dueAlarm{})
	}
	h.settle(i, dueAlarm{at, r})
}

// remove takes r's alarm out, and reports whether it was in.
func (h *dueHeap) remove(r *request) bool {
	i := int(r.alarm.place) - 1
	if i < 0 {
		return false
	}
	r.alarm.place = 0
	last := len(*h) - 1
	moved := (*h)[last]
	(*h)[last] = dueAlarm{}
	*h = (*h)[:last]
	if i < last {
		h.settle(i, moved)
	}
	if last == 0 && cap(*h) > dueKept {
		*h = nil
	}
	return true
}

// settle finds the place of a, for which there is room at i.
func (h *dueHeap) settle(i int, a dueAlarm) {
	s := *h
	for i > 0 {
		above := (i - 1) / dueWidth
		if s[above].at <= a.at {
			break
		}
		s.put(i, s[above])
		i = above
	}
	for {
		first := s.firstBelow(i)
		if first == 0 || a.at <= s[first].at {
			break
		}
		s.put(i, s[first])
		i = first
	}
	s.put(i, a)
}

// firstBelow finds which of those below i is due first; 0 when there are none.
func (h dueHeap) firstBelow(i int) (first int) {
	from := dueWidth*i + 1
	for j := from; j < min(from+dueWidth, len(h)); j++ {
		if first == 0 || h[j].at < h[first].at {
			first = j
		}
	}
	return first
}

func (h dueHeap) put(i int, a dueAlarm) {
	h[i] = a
	a.request.alarm.place = int32(i) + 1
}
