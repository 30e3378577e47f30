package bmcbench

import (
	"fmt"
	"os"
	"testing"
	"text/tabwriter"
	"time"
)

// Peer is a figure of another server, recorded once: on the machine that its owner's
// comment names.
type Peer struct {
	Name string
	// Rate is the most requests per second of all runs, with any number of clients.
	Rate float64
	// Best is the least processor time per request of all runs, and Busy that of runs beside
	// other work on the machine. That of the hypervisor's daemon is included: each request
	// asks it.
	Best, Busy time.Duration
}

// Table is what is printed at the end of a benchmark; its rows are metrics of it, too.
type Table struct{ lines []string }

// Note adds a line; tabs are the columns' ends.
func (t *Table) Note(format string, args ...any) {
	t.lines = append(t.lines, fmt.Sprintf(format, args...))
}

// Row adds a measurement, and the same as a metric.
func (t *Table) Row(b *testing.B, what, metric string, value float64, unit, format string, args ...any) {
	b.Helper()
	b.ReportMetric(value, metric)
	t.Note("%s\t%.4g %s\t%s", what, value, unit, fmt.Sprintf(format, args...))
}

// Load adds what a load came to, beside a peer's figure. The ratio is of requests per core,
// which processor time per request is the inverse of: that to the peer's best is a metric.
func (t *Table) Load(b *testing.B, what string, clients int, r Result, p Peer) {
	b.Helper()
	ratio := p.Best.Seconds() / r.CPU.Seconds()
	b.ReportMetric(r.Rate, fmt.Sprintf("c%d/s", clients))
	b.ReportMetric(micros(r.P99), fmt.Sprintf("c%d-p99-µs", clients))
	b.ReportMetric(micros(r.CPU), fmt.Sprintf("c%d-cpu-µs", clients))
	b.ReportMetric(ratio, fmt.Sprintf("c%d-ratio", clients))
	t.Note("%s, %d clients\t%.0f/s\tp50 %.0f µs, p99 %.0f µs\tCPU %.1f µs\t%s: %.0f/s, CPU %.0f to %.0f µs\tper core %.1f to %.1f times",
		what, clients, r.Rate, micros(r.P50), micros(r.P99), micros(r.CPU), p.Name, p.Rate, micros(p.Best), micros(p.Busy), ratio, p.Busy.Seconds()/r.CPU.Seconds())
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// Print prints the table.
func (t *Table) Print() {
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	for _, line := range t.lines {
		_, _ = fmt.Fprintln(w, line)
	}
	_ = w.Flush()
}
