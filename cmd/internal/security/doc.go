// Package security tests what a mesh refuses: callers who are no peers or no longer,
// gossip without the key, tokens that were guessed or used, and bytes that are none of
// ours. It has tests only; they run agents in their own process.
package security
