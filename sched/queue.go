package sched

import "container/heap"

// queue has the hosts of one zone, or all, by rank, best first. Ranks are those of
// when they were last looked at: as they only get worse, a first host whose rank
// still holds is the best one. It implements heap.Interface.
type queue struct {
	zone    string
	entries []entry
}

type entry struct {
	host *host
	rank rank
}

// makeQueues makes the queues of a class: one per zone if it is spread over zones. The
// zones are in the order of their first hosts.
func (c *class) makeQueues(hosts []*host) {
	c.queues = []*queue{}
	at := map[string]*queue{}
	for _, h := range hosts {
		zone := ""
		if c.byZone {
			zone = h.Zone
		}
		q, ok := at[zone]
		if !ok {
			q = &queue{zone: zone}
			at[zone] = q
			c.queues = append(c.queues, q)
		}
		q.entries = append(q.entries, entry{h, c.rank(h)})
	}
	for _, q := range c.queues {
		heap.Init(q)
	}
}

// best returns the best host of the queue for a node of the class; nil if none can
// take it. A host that cannot is never asked again: nothing is given back within one
// call of Place.
func (q *queue) best(c *class) *host {
	for len(q.entries) > 0 {
		h := q.entries[0].host
		if refuse(h, c) != (refusal{}) {
			heap.Pop(q)
			continue
		}
		now := c.rank(h)
		if q.entries[0].rank == now {
			return h
		}
		q.entries[0].rank = now
		heap.Fix(q, 0)
	}
	return nil
}

// Len implements heap.Interface.
func (q *queue) Len() int { return len(q.entries) }

// Less implements heap.Interface.
func (q *queue) Less(i, j int) bool { return q.entries[i].rank.compare(q.entries[j].rank) < 0 }

// Swap implements heap.Interface.
func (q *queue) Swap(i, j int) { q.entries[i], q.entries[j] = q.entries[j], q.entries[i] }

// Push implements heap.Interface. Nothing is ever added.
func (q *queue) Push(any) {}

// Pop implements heap.Interface.
func (q *queue) Pop() any {
	last := len(q.entries) - 1
	e := q.entries[last]
	q.entries = q.entries[:last]
	return e
}
