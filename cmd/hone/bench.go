package main

import (
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/hone-lm/hone/internal/rng"
	"github.com/hone-lm/hone/tensor"
)

type benchCmd struct {
	What    []string      `arg:"" optional:"" enum:"peak,gemm,train" help:"peak, gemm, train; all of them when left out."`
	Time    time.Duration `default:"500ms" help:"How long each line is measured, such as 2s; the fastest round counts."`
	Threads []int         `help:"Numbers of threads; 1 and all when left out."`
	Level   string        `enum:",avx512,avx2,go" default:"" help:"Force kernels: avx512, avx2 or go."`
	JSON    bool          `name:"json" help:"One JSON object a line instead of a table."`
}

func (benchCmd) Help() string {
	return `Measures this machine and how much of it hone uses. "of peak" compares with a loop of fused multiply-adds on registers on as many threads;
behind it stands what the project promises, where it promises something. Run it on an idle machine.

  hone bench
  hone bench gemm --threads 1 --time 2s
  hone bench train --level avx2 --json | jq .of_peak

gemm   the three products of a linear layer: NN forward, NT gradient of the input, TN gradient of the weights
train  a training step (forward, backward, AdamW) of a Llama with 5.2 M parameters, 16 x 256 tokens; 6 x parameters x tokens operations`
}

// benchRow is one line of "hone bench --json".
type benchRow struct {
	Bench        string  `json:"bench"`
	Case         string  `json:"case,omitempty"`
	Kernels      string  `json:"kernels"`
	Threads      int     `json:"threads"`
	GFlops       float64 `json:"gflop_per_s,omitempty"`
	GBytes       float64 `json:"gbyte_per_s,omitempty"`
	TokensPerSec float64 `json:"tokens_per_s,omitempty"`
	OfPeak       float64 `json:"of_peak,omitempty"` // share of the FMA peak on as many threads
	Promised     float64 `json:"promised,omitempty"`
}

// bencher measures and prints.
type bencher struct {
	a     *app
	c     *benchCmd
	peaks map[int]float64 // GFLOP/s by threads
}

func (c *benchCmd) Run(a *app) error {
	if c.Level != "" {
		restore, ok := tensor.ForceKernelLevel(c.Level)
		if !ok {
			return badCallf("this processor or build has no %s kernels; hone doctor lists what it has", c.Level)
		}
		defer restore()
	}
	if len(c.Threads) == 0 {
		c.Threads = slices.Compact([]int{1, runtime.GOMAXPROCS(0)})
	}
	for _, n := range c.Threads {
		if n < 1 || n > 4096 {
			return badCallf("--threads %d: give 1 or more", n)
		}
	}
	if len(c.What) == 0 {
		c.What = []string{"peak", "gemm", "train"}
	}
	b := &bencher{a: a, c: c, peaks: map[int]float64{}}
	if !c.JSON {
		fmt.Fprintf(a.out, "%-6s %-28s %7s %12s %10s\n", "", "", "threads", "", "of peak")
	}
	for _, what := range c.What {
		for _, threads := range c.Threads {
			if err := a.ctx.Err(); err != nil {
				return err
			}
			switch what {
			case "peak":
				b.peak(threads)
			case "gemm":
				b.gemm(threads)
			case "train":
				if err := b.train(threads); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// peakOf measures the machine's FMA peak once for a number of threads; 0 = unknown.
func (b *bencher) peakOf(threads int) float64 {
	if _, ok := b.peaks[threads]; !ok {
		b.peaks[threads] = tensor.PeakFMA(threads)
	}
	return b.peaks[threads]
}

func (b *bencher) print(r benchRow) {
	r.Kernels = tensor.KernelLevel()
	if peak := b.peakOf(r.Threads); peak > 0 && r.Bench != "peak" {
		r.OfPeak = r.GFlops / peak
	}
	if b.c.JSON {
		_ = b.a.printJSON(r) // a closed pipe shows at the next line
		return
	}
	value := fmt.Sprintf("%.0f GFLOP/s", r.GFlops)
	switch {
	case r.GBytes > 0:
		value = fmt.Sprintf("%.1f GB/s", r.GBytes)
	case r.GFlops < 10:
		value = fmt.Sprintf("%.2f GFLOP/s", r.GFlops)
	}
	line := fmt.Sprintf("%-6s %-28s %7d %12s", r.Bench, r.Case, r.Threads, value)
	if r.OfPeak > 0 {
		line += fmt.Sprintf(" %8.0f %%", 100*r.OfPeak)
	}
	if r.TokensPerSec > 0 {
		line += fmt.Sprintf("  %.0f tokens/s", r.TokensPerSec)
	}
	if r.Promised > 0 && r.OfPeak > 0 {
		line += fmt.Sprintf("  (promised %.0f %%)", 100*r.Promised)
	}
	fmt.Fprintln(b.a.out, line)
}

func (b *bencher) peak(threads int) {
	if peak := b.peakOf(threads); peak > 0 {
		b.print(benchRow{Bench: "peak", Case: "fused multiply-add", Threads: threads, GFlops: peak})
	}
	b.print(benchRow{Bench: "peak", Case: "memory read", Threads: threads, GBytes: tensor.PeakRead(threads)})
}

// fastest runs f until the time is over, at least three times, and returns the seconds of the fastest round. prepare runs before each, untimed.
func (b *bencher) fastest(threads int, prepare, f func()) float64 {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(threads))
	best := time.Duration(1 << 62)
	for n, begin := 0, time.Now(); n < 3 || time.Since(begin) < b.c.Time; n++ {
		prepare()
		start := time.Now()
		f()
		best = min(best, time.Since(start))
	}
	return best.Seconds()
}

// gemmShapes are products of training: rows (tokens), inner, columns.
var gemmShapes = [][3]int{{512, 576, 1536}, {2048, 256, 1024}, {512, 576, 49152}, {16, 576, 1536}}

func (b *bencher) gemm(threads int) {
	for _, s := range gemmShapes {
		m, k, n := s[0], s[1], s[2]
		x, w := randomParam("x", m, k), randomParam("w", k, n)
		flops := 2 * float64(m) * float64(k) * float64(n)
		promised := 0.0
		if threads == 1 && m >= 512 {
			promised = 0.7
		}
		row := func(form string, seconds float64) {
			b.print(benchRow{Bench: "gemm", Case: fmt.Sprintf("%s %d x %d x %d", form, m, k, n), Threads: threads, GFlops: flops / seconds / 1e9, Promised: promised})
		}
		tape := tensor.NewTape()
		tape.Record(false)
		row("NN", b.fastest(threads, tape.Reset, func() { tape.MatMul(x, w) }))
		tape.Record(true)
		backward := func(p *tensor.Tensor) float64 { // with one gradient wanted, Backward is one product
			p.EnsureGrad()
			defer func() { p.Grad = nil }()
			return b.fastest(threads, func() {
				tape.Reset()
				for i, g := 0, tape.GradOf(tape.MatMul(x, w)); i < len(g); i++ {
					g[i] = 1
				}
			}, tape.Backward)
		}
		row("NT", backward(x))
		row("TN", backward(w))
	}
}

func randomParam(name string, rows, cols int) *tensor.Tensor {
	p := tensor.NewParam(name, rows, cols)
	key := rng.New(1, "bench").Sub(name)
	for i := range p.Data {
		p.Data[i] = float32(key.Float64(uint64(i)) - 0.5)
	}
	return p
}
