package ipmi

import (
	"fmt"
	"runtime"
	"testing"

	"tenks/bmc/bmctest"
)

// BenchmarkSession is a whole session over loopback: capabilities, open, RAKP 1 and
// 3, privilege, one chassis status, close.
func BenchmarkSession(b *testing.B) {
	for _, clients := range []int{1, 8} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			s := listen(b, bmctest.NewChassis())
			b.SetParallelism(max(1, clients/runtime.GOMAXPROCS(0)))
			if clients == 1 {
				c := newConsole(dial(b, s.Addr(), patience).ask)
				for b.Loop() {
					wholeSession(b, c)
				}
			} else {
				b.RunParallel(func(pb *testing.PB) {
					c := newConsole(dial(b, s.Addr(), patience).ask)
					for pb.Next() {
						wholeSession(b, c)
					}
				})
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "sessions/s")
		})
	}
}

func wholeSession(b *testing.B, c *console) {
	b.Helper()
	if c.ask(frame15(message(1, 6, 0x38, 0x8e, 4))) == nil {
		b.Error("no capabilities")
	}
	if err := c.login(); err != nil {
		b.Error(err)
	}
	if code, _, err := c.command(6, 0x3b, 4); code != 0 || err != nil {
		b.Errorf("privilege: code %02x, %v", byte(code), err)
	}
	if code, _, err := c.command(0, 1); code != 0 || err != nil {
		b.Errorf("status: code %02x, %v", byte(code), err)
	}
	if err := c.close(); err != nil {
		b.Error(err)
	}
}

// BenchmarkCommand is one chassis status in an open session over loopback.
func BenchmarkCommand(b *testing.B) {
	s := listen(b, bmctest.NewChassis())
	b.RunParallel(func(pb *testing.PB) {
		c := newConsole(dial(b, s.Addr(), patience).ask)
		if err := c.login(); err != nil {
			b.Error(err)
			return
		}
		for pb.Next() {
			if code, _, err := c.command(0, 1); code != 0 || err != nil {
				b.Errorf("status: code %02x, %v", byte(code), err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commands/s")
}

// BenchmarkEngine is the same command without sockets, the server's part alone.
func BenchmarkEngine(b *testing.B) {
	l := newLab(b)
	c := newConsole(l.ask)
	if err := c.login(); err != nil {
		b.Fatal(err)
	}
	packets := make([][]byte, 0, b.N)
	b.ReportAllocs()
	for b.Loop() {
		if len(packets) == 0 {
			b.StopTimer()
			for range 1024 {
				packets = append(packets, c.request(0, 1))
			}
			b.StartTimer()
		}
		if l.ask(packets[0]) == nil {
			b.Fatal("no answer")
		}
		packets = packets[1:]
	}
}

// BenchmarkListen opens and closes a BMC, and reports the memory of one that is
// open.
func BenchmarkListen(b *testing.B) {
	const n = 2000
	chassis := bmctest.NewChassis()
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		servers := make([]*Server, n)
		for i := range servers {
			s, err := Listen(b.Context(), "127.0.0.1:0", testConfig(chassis))
			if err != nil {
				b.Fatal(err)
			}
			servers[i] = s
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc+after.StackInuse-before.HeapAlloc-before.StackInuse)/n, "B/bmc")
		for _, s := range servers {
			if err := s.Close(); err != nil {
				b.Error(err)
			}
		}
	}
}
