// Command tenks runs virtual bare-metal clusters: it is the agent on every
// hypervisor and the tool that talks to it. It starts what the command asks for
// and ends with it, or on SIGINT or SIGTERM.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// version is set by the linker.
var version = "dev"

// Exit codes (DESIGN.md §8).
const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], streams{in: os.Stdin, out: os.Stdout, err: os.Stderr})
	stop()
	os.Exit(report(err))
}

// report prints an error and returns the exit code for it.
func report(err error) int {
	var usage *usageError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, context.Canceled):
		return exitFailed
	case errors.As(err, &usage):
		fmt.Fprintln(os.Stderr, "tenks:", err)
		return exitUsage
	}
	fmt.Fprintln(os.Stderr, "tenks:", err)
	return exitFailed
}
