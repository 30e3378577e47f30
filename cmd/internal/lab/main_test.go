package lab

import (
	"os"
	"strconv"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if lookers, err := strconv.Atoi(os.Getenv(tellClocks)); err == nil {
		showClocks(os.Stdin, os.Stdout, lookers)
		return
	}
	if dir := os.Getenv(leaveLab); dir != "" {
		os.Exit(Swept(func() int { return leave(dir) }, func(string) {}))
	}
	goleak.VerifyTestMain(m)
}
