package driver_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"tenks/hostops/driver"
	"tenks/hostops/fake"
	"tenks/raftfsm/state"
)

// The test's program is run again as the other processes of a test: its first
// argument says which.
const (
	asDriver  = "be-a-driver"
	asAgent   = "be-an-agent"
	asSilence = "be-silent"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case asDriver:
			driver.Serve(openTroubled)
			return
		case asAgent:
			os.Exit(agent(os.Args[2]))
		case asSilence:
			select {}
		}
	}
	os.Exit(m.Run())
}

// troubled is the fake driver, which tells its process' ID, and whose provider
// hangs while there is a file "hang" in its data directory. It makes a file "ensuring"
// there when it is asked to make a node.
type troubled struct {
	*fake.Driver
	dir string
}

func openTroubled(c driver.Config) (driver.Driver, error) {
	if c.Options["refuse"] != "" {
		return nil, errors.New(c.Options["refuse"])
	}
	d, err := fake.Open(c)
	if err != nil {
		return nil, err
	}
	return &troubled{Driver: d, dir: c.DataDir}, nil
}

func (d *troubled) wait(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(d.dir, "hang")); err != nil {
		return nil //nolint:nilerr // no file, no trouble
	}
	<-ctx.Done()
	return fmt.Errorf("provider: %w", ctx.Err())
}

// Info implements driver.Driver.
func (d *troubled) Info(ctx context.Context) (driver.Info, error) {
	if err := d.wait(ctx); err != nil {
		return driver.Info{}, err
	}
	i, err := d.Driver.Info(ctx)
	i.Facts["pid"] = strconv.Itoa(os.Getpid())
	return i, err
}

// Instances implements driver.Driver.
func (d *troubled) Instances(ctx context.Context) ([]driver.Instance, error) {
	if err := d.wait(ctx); err != nil {
		return nil, err
	}
	return d.Driver.Instances(ctx)
}

// Ensure implements driver.Driver.
func (d *troubled) Ensure(ctx context.Context, s driver.Spec) error {
	if err := os.WriteFile(filepath.Join(d.dir, "ensuring"), nil, 0o600); err != nil {
		return err
	}
	return d.Driver.Ensure(ctx, s)
}

// Console implements driver.Driver.
func (d *troubled) Console(ctx context.Context, uuid string) (io.ReadWriteCloser, error) {
	if err := d.wait(ctx); err != nil {
		return nil, err
	}
	return d.Driver.Console(ctx, uuid)
}

// agent supervises a driver and prints its process' ID, until it is killed.
func agent(dir string) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	self, err := os.Executable()
	if err != nil {
		return 1
	}
	s := driver.Supervise(driver.SupervisorConfig{Name: "fake", Path: self, Args: []string{asDriver},
		Config: driver.Config{Mesh: "m1", DataDir: dir}, Log: slog.New(slog.DiscardHandler)})
	go func() {
		for ctx.Err() == nil {
			if i, err := s.Info(ctx); err == nil {
				fmt.Println(i.Facts["pid"])
				return
			}
		}
	}()
	if s.Run(ctx) != nil {
		return 1
	}
	return 0
}

func node(i int) driver.Spec {
	return driver.Spec{UUID: fmt.Sprintf("6ba7b810-9dad-11d1-80b4-%012d", i), Name: fmt.Sprintf("node-%d", i), Epoch: 7,
		Machine: state.Machine{Driver: fake.Name, MemoryMB: 512, VCPUs: 1, Volumes: []state.Volume{{CapacityBytes: 1 << 30}}},
		Ports:   []driver.Port{{MAC: fmt.Sprintf("52:54:00:00:00:%02x", i), Physnet: "physnet1", Link: "l"}}}
}
