// Package scale measures a mesh of many peers on one host: some real agents, each a
// process of its own, that follow the log, and very many peers that do not, as light
// clients in the process of the benchmark. It has benchmarks only; what they start ends
// with them. make bench-scale runs it at its full size.
package scale
