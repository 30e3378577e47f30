// Package histories tests what a mesh promises while it breaks. It holds only tests: each
// runs five peers in one process, lets hosts, networks and disks fail as a seed says, has
// clients write and read at random peers meanwhile, and checks what they were told.
//
// Real are package cluster with all below it (consensus, gossip, transport, joining, who
// votes), raftfsm, sched, and declare, which plans what clients apply; the logs are on a
// real disk. Networks are in memory, and the clock is that of a testing/synctest bubble:
// minutes pass in seconds, and a busy machine delays nothing. What the agent does
// between these parts (proposing, placing, saying where it is) is done here as it does
// it; there are no guests, so that hosts only report that nodes are ready, or gone.
//
// A seed decides the faults and when they come, not how goroutines are scheduled: the
// same seed meets the same faults, not always the same history.
package histories
