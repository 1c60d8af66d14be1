package main

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"runtime/pprof"
	"time"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/engine/local"
	"github.com/hone-lm/hone/internal/machine"
	"github.com/hone-lm/hone/tensor"
)

type benchCmd struct {
	All     benchAllCmd     `cmd:"" default:"withargs" help:"Every row of the table with its target; what hone bench alone does."`
	Peak    benchPeakCmd    `cmd:"" help:"The limits of this machine: multiply-adds and reading of memory."`
	Gemm    benchGemmCmd    `cmd:"" help:"Matrix products, one line a shape."`
	Train   benchTrainCmd   `cmd:"" help:"Training steps of one model."`
	Decode  benchDecodeCmd  `cmd:"" help:"Sampling of one or many sequences."`
	Prefill benchPrefillCmd `cmd:"" help:"Reading of a long prompt."`
	Grpo    benchGrpoCmd    `cmd:"" help:"GRPO steps of the nano model: sampling, grading, training."`
	Start   benchStartCmd   `cmd:"" help:"From the start of the program to the first update of the nano model."`
	Scale   benchScaleCmd   `cmd:"" help:"How cost grows with parameters, context, streams and prompt: a page with charts."`
}

func (benchCmd) Help() string {
	return `Alone it measures every row of docs/BENCHMARKS.md; the flags for that (--only, --json, --markdown, --peers, --list) are shown by hone bench all --help.
A verb measures one thing. Run it on an idle machine, or with --threads 1 --cpu.

  hone bench
  hone bench --only 'train.*5.4M' --json
  hone bench train --shape 5.4M --threads 1
  hone bench decode --shape 15.5M --streams 32 --prompt 16 --new 64 --json`
}

// benchFlags are the flags of every verb that measures.
type benchFlags struct {
	Threads int           `help:"Threads; 0 = all cores."`
	Time    time.Duration `default:"2s" help:"How long a figure is measured; the fastest round counts."`
	Level   string        `enum:",avx512,avx2,go" default:"" help:"Force kernels: avx512, avx2 or go."`
	JSON    bool          `name:"json" help:"One JSON object a line instead of text."`
	CPU     bool          `name:"cpu" help:"Count the processor time of this process instead of the clock's: for one thread, on a machine that has other work."`
	Plan    bool          `help:"Also give the memory that is planned for the work, as hone run --dry-run does, in bytes."`
	Profile string        `help:"Write a CPU profile of what is measured to this file, for go tool pprof."`
}

// benchResult is what a verb measured; --json prints it.
type benchResult struct {
	Case         string  `json:"case"`
	TokensPerSec float64 `json:"tokens_per_s,omitempty"`
	GFlops       float64 `json:"gflops"`
	PeakGFlops   float64 `json:"peak_gflops"` // the larger of the FMA loop and the best product of the run
	Ratio        float64 `json:"ratio"`       // to the FMA peak, or to the bandwidth where gb_per_s is given
	PeakRSS      int64   `json:"peak_rss_bytes"`
	GBytes       float64 `json:"gb_per_s,omitempty"`
	PeakGBytes   float64 `json:"peak_gb_per_s,omitempty"`
	StepSeconds  float64 `json:"step_s,omitempty"`
	Grading      float64 `json:"grading_share,omitempty"` // of the step's time
	Planned      int64   `json:"planned_bytes,omitempty"` // --plan

	work string // how gflops or gb_per_s were counted, for text
}

// bencher measures on so many threads.
type bencher struct {
	a       *app
	f       *benchFlags
	threads int
	bf16    bool    // the peak is that of bf16 products
	peak    float64 // GFLOP/s
	restore []func()
}

// begin prepares the process for measuring: threads and kernels are what the flags ask for until end is called.
func (f *benchFlags) begin(a *app) (*bencher, error) {
	b := &bencher{a: a, f: f, threads: f.Threads}
	switch {
	case f.Threads < 0 || f.Threads > 4096:
		return nil, badCallf("--threads %d: give 1 or more, or 0 for all cores", f.Threads)
	case f.Threads == 0:
		b.threads = runtime.GOMAXPROCS(0)
	}
	if f.CPU && (b.threads != 1 || machine.CPUTime() == 0) {
		return nil, badCallf("--cpu: processor time says how fast one thread is, where the system tells it: add --threads 1")
	}
	if f.Level != "" {
		restore, ok := tensor.ForceKernelLevel(f.Level)
		if !ok {
			return nil, badCallf("this processor or build has no %s kernels; hone doctor lists what it has", f.Level)
		}
		b.restore = append(b.restore, restore)
	}
	before := runtime.GOMAXPROCS(b.threads)
	b.restore = append(b.restore, func() { runtime.GOMAXPROCS(before) })
	return b, nil
}

// record writes a CPU profile from now until end, if one was asked for.
func (b *bencher) record() error {
	if b.f.Profile == "" {
		return nil
	}
	file, err := os.Create(b.f.Profile)
	if err != nil {
		return badCall{err}
	}
	b.restore = append(b.restore, func() { file.Close() })
	if err := pprof.StartCPUProfile(file); err != nil {
		return err
	}
	b.restore = append(b.restore, pprof.StopCPUProfile)
	return nil
}

func (b *bencher) end() {
	for i := len(b.restore) - 1; i >= 0; i-- {
		b.restore[i]()
	}
}

// lookAtPeak measures the FMA peak once more: before and after the rounds, because other work on the machine comes and goes.
func (b *bencher) lookAtPeak() {
	if b.bf16 {
		b.peak = max(b.peak, peakBF16(b.threads))
		return
	}
	b.peak = max(b.peak, tensor.PeakFMA(b.threads))
}

// bandwidth is how fast memory is read, in GB/s, looked at three times: other work takes of it, too.
func (b *bencher) bandwidth() (best float64) {
	for range 3 {
		best = max(best, tensor.PeakRead(b.threads))
	}
	return best
}

// fastest runs round until the time is over, and at least twice after a first time that does not count, and returns the seconds of the
// fastest. A round says how long it took: what it prepares is not in it.
func (b *bencher) fastest(round func() (time.Duration, error)) (float64, error) {
	if _, err := round(); err != nil {
		return 0, err
	}
	if err := b.record(); err != nil {
		return 0, err
	}
	best := time.Duration(math.MaxInt64)
	for n, begin := 0, time.Now(); n < 2 || time.Since(begin) < b.f.Time; n++ {
		if err := b.a.ctx.Err(); err != nil {
			return 0, err
		}
		took, err := round()
		if err != nil {
			return 0, err
		}
		best = min(best, took)
	}
	pprof.StopCPUProfile() // what follows is not what was measured
	return best.Seconds(), nil
}

// plan returns what the engine plans for work, if it was asked for.
func (b *bencher) plan(e engine.Fitter, w engine.Work) (int64, error) {
	if !b.f.Plan {
		return 0, nil
	}
	m, err := e.Memory(w)
	return m.Total(), err
}

// timed measures one call.
func (b *bencher) timed(f func() error) (time.Duration, error) {
	start := b.now()
	err := f()
	return b.now() - start, err
}

// now reads the clock that counts, from its own beginning.
func (b *bencher) now() time.Duration {
	if b.f.CPU {
		return machine.CPUTime()
	}
	return time.Since(processStart)
}

var processStart = time.Now()

// against completes a result with the peak of the run. It reads the memory first: measuring bandwidth takes some of its own.
func (b *bencher) against(r benchResult) benchResult {
	if r.PeakRSS == 0 {
		r.PeakRSS = machine.PeakRSS()
	}
	if r.GBytes > 0 {
		r.PeakGBytes = b.bandwidth()
		r.Ratio = r.GBytes / r.PeakGBytes
	}
	b.lookAtPeak()
	if !b.bf16 {
		b.peak = max(b.peak, b.bestProduct())
	}
	r.PeakGFlops = b.peak
	if r.GBytes == 0 {
		r.Ratio = r.GFlops / r.PeakGFlops
	}
	return r
}

// print writes one result as text or as JSON.
func (b *bencher) print(r benchResult) error {
	if b.f.JSON {
		return b.a.printJSON(r)
	}
	line := fmt.Sprintf("%-52s", r.Case)
	if r.TokensPerSec > 0 {
		line += fmt.Sprintf(" %8.0f tokens/s", r.TokensPerSec)
	}
	if r.GBytes > 0 {
		line += fmt.Sprintf(" %7.1f GB/s, %3.0f %% of %.1f", r.GBytes, 100*r.Ratio, r.PeakGBytes)
	} else {
		line += fmt.Sprintf(" %7.1f GFLOP/s, %3.0f %% of %.0f", r.GFlops, 100*r.Ratio, r.PeakGFlops)
	}
	if r.StepSeconds > 0 {
		line += fmt.Sprintf(", %.3f s a step, %.2f %% of it grading", r.StepSeconds, 100*r.Grading)
	}
	line += ", peak memory " + size(r.PeakRSS)
	if r.Planned > 0 {
		line += " (planned " + size(r.Planned) + ")"
	}
	_, err := fmt.Fprintln(b.a.out, line)
	if r.work != "" && err == nil {
		_, err = fmt.Fprintf(b.a.out, "  %s\n", r.work)
	}
	return err
}

// withPrecision returns the engine's options for a precision. Where the engine would run f32 in place of bf16 there is nothing to measure.
func withPrecision(o local.Options, precision string) (local.Options, error) {
	if precision == local.BF16 && !tensor.HasBF16() {
		return o, &engine.NotYet{Engine: "local", What: "precision bf16 without AVX512_BF16"}
	}
	o.Precision = precision
	return o, nil
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
