package bmcbench_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/bougou/go-ipmi/pkg/client"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"tenks/bmc"
	"tenks/bmc/bmcbench"
	"tenks/bmc/bmctest"
	"tenks/bmc/endpoint"
	"tenks/bmc/record"
	"tenks/raftfsm/state"
)

func TestMain(m *testing.M) {
	f := &fleet{}
	bmcbench.Serve(bmcbench.Commands{"prepare": f.prepare, "open": f.open})
	os.Exit(m.Run())
}

const (
	// virtualBMC is what each of 50 BMCs of VirtualBMC 3.3 takes, in bytes: its share of
	// the memory of all of its processes (PSS), idle.
	virtualBMC = 265e6 / 50
	// goal is what 10,000 BMCs may take, in bytes.
	goal = 400e6
)

// host is the hypervisor that the nodes are placed on; port is that of every BMC.
const (
	host = "hv1"
	port = 6230
)

// address is that of the i-th BMC: each has its own, which all of 127.0.0.0/8 are.
func address(i int) string { return fmt.Sprintf("127.66.%d.%d", i/250, 1+i%250) }

func uuid(i int) string { return fmt.Sprintf("3f8a1c52-9d47-4e6b-8a21-%012x", i) }

// few and all are how many BMCs are measured.
const few, all = 1000, 10_000

// fleet is the agent's part that opens BMCs, as the process of the server has it.
type fleet struct {
	chassis map[string]bmc.Chassis
	// snaps are those with few and with all of the nodes placed here.
	snaps   []*state.Snapshot
	manager *endpoint.Manager
}

// prepare makes all but the BMCs: the nodes in the state, and their chassis.
func (f *fleet) prepare(...string) (string, error) {
	f.chassis = make(map[string]bmc.Chassis, all)
	nodes, placements := make([]state.Node, all), make([]state.NodePlacement, all)
	for i := range all {
		f.chassis[uuid(i)] = bmctest.NewChassis()
		nodes[i] = state.Node{UUID: uuid(i), Name: fmt.Sprintf("tk%d", i), Cluster: "demo", LinkName: fmt.Sprintf("n%d", i),
			Machine: state.Machine{IronicDriver: "ipmi"}, BMC: state.Account{Username: "admin", Password: state.NewSecret("secret")}}
		placements[i] = state.NodePlacement{UUID: uuid(i), Hypervisor: host, BMC: state.Endpoint{Address: address(i), Port: port}}
	}
	store := state.New()
	for i, c := range []state.Command{
		state.PutHypervisor{Hypervisor: state.Hypervisor{ID: host, Name: host}},
		state.ApplyCluster{Cluster: state.Cluster{Name: "demo"}, Create: nodes},
		state.PlaceNodes{Placements: placements[:few]},
		state.PlaceNodes{Placements: placements[few:]},
	} {
		if err := store.Apply(uint64(i)+1, state.Envelope{Command: c}); err != nil {
			return "", err
		}
		if _, placed := c.(state.PlaceNodes); placed {
			snap, _ := store.Snapshot()
			f.snaps = append(f.snaps, snap)
		}
	}
	f.manager = endpoint.New(endpoint.Config{Hypervisor: host, Log: slog.New(slog.DiscardHandler), Record: func(record.Call) {},
		Chassis: func(uuid string) (bmc.Chassis, bool) { c, ok := f.chassis[uuid]; return c, ok }})
	return "", nil
}

// open opens few BMCs, and all when it is called again; it returns how long that took.
func (f *fleet) open(...string) (string, error) {
	began := time.Now()
	err := f.manager.Do(context.Background(), f.snaps[0])
	f.snaps = f.snaps[1:]
	return time.Since(began).String(), err
}

// BenchmarkFleet opens many IPMI BMCs in a process of their own, as an agent does, and
// watches them: at rest, for TENKS_BENCH_REST seconds (1), and after logins.
func BenchmarkFleet(b *testing.B) {
	rest := time.Second
	if text := os.Getenv("TENKS_BENCH_REST"); text != "" {
		seconds, err := strconv.Atoi(text)
		if err != nil || seconds < 1 {
			b.Fatalf("TENKS_BENCH_REST=%s: want a number from 1", text)
		}
		rest = time.Duration(seconds) * time.Second
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		b.Fatal(err)
	}
	if limit.Max < all+100 {
		b.Skipf("a process may open %d files only (ulimit -Hn)", limit.Max)
	}
	var table bmcbench.Table
	b.Run(fmt.Sprintf("bmcs=%d", all), func(b *testing.B) {
		for b.Loop() {
			table = bmcbench.Table{}
			measure(b, &table, rest)
		}
		b.ReportMetric(0, "ns/op")
	})
	table.Print()
}

func measure(b *testing.B, table *bmcbench.Table, rest time.Duration) {
	b.Helper()
	server := bmcbench.Start(b)
	server.Do("prepare")
	empty := server.Usage(true)
	for _, n := range []int{few, all} {
		took, err := time.ParseDuration(server.Do("open"))
		if err != nil {
			b.Fatal(err)
		}
		total := server.Usage(false).RSS
		added := float64(total - empty.RSS)
		table.Row(b, fmt.Sprintf("%d idle BMCs", n), fmt.Sprintf("%d-MB", n), added/1e6, "MB", "%.1f KB each; VirtualBMC: %.0f MB, %.0f times", added/float64(n)/1e3,
			virtualBMC*float64(n)/1e6, virtualBMC*float64(n)/added)
		if n == all {
			table.Row(b, "the process, with state and chassis", "process-MB", float64(total)/1e6, "MB", "goal: %.0f MB", goal/1e6)
			table.Row(b, fmt.Sprintf("open %d more", all-few), "open-ms", float64(took.Milliseconds()), "ms", "")
		}
	}
	before := server.Usage(true)
	<-time.After(rest) // nothing is waited for
	after := server.Usage(false)
	table.Row(b, "processor time at rest", "rest-µs/s", float64((after.CPU-before.CPU).Microseconds())/rest.Seconds(), "µs a second",
		"in %s; threads woke %d times, once to be asked", rest, after.Switches-before.Switches)
	use(b, few)
	used := float64(server.Usage(true).RSS) - float64(before.RSS)
	table.Row(b, fmt.Sprintf("after a session with each of %d", few), "session-KB", used/few/1e3, "KB more each", "")
}

// use logs in to n BMCs, asks for the chassis' status, and logs out.
func use(b *testing.B, n int) {
	b.Helper()
	g, ctx := errgroup.WithContext(b.Context())
	g.SetLimit(8)
	for i := range n {
		g.Go(func() error {
			c, err := client.NewClient(address(i), port, "admin", "secret")
			if err != nil {
				return err
			}
			if err := c.WithTimeout(10 * time.Second).Connect(ctx); err != nil {
				return fmt.Errorf("BMC %d: %w", i, err)
			}
			_, err = c.GetChassisStatus(ctx)
			return errors.Join(err, c.Close(ctx))
		})
	}
	if err := g.Wait(); err != nil {
		b.Fatal(err)
	}
}
