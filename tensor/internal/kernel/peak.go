package kernel

import (
	"runtime"
	"time"

	"github.com/hone-lm/hone/tensor/internal/par"
)

// PeakFMA measures what loops of independent fused multiply-adds on registers reach on so many threads within a third of a second, in GFLOP/s:
// the limit of every product. It is 0 where the kernels are plain Go.
func PeakFMA(threads int) float64 {
	loop, flops := peakLoop()
	if loop == nil {
		return 0
	}
	const rounds = 1 << 16 // some 200 microseconds
	return best(threads, &repeat{f: func(int) { loop(rounds) }}, rounds*flops*float64(threads)) / 1e9
}

// PeakBF16 is PeakFMA for products of bf16; 0 where this CPU or build has no instruction for them.
func PeakBF16(threads int) float64 {
	if !active.bf16 {
		return 0
	}
	const rounds = 1 << 16
	loop, flops := peakLoopBF16()
	return best(threads, &repeat{f: func(int) { loop(rounds) }}, rounds*flops*float64(threads)) / 1e9
}

// PeakRead measures how fast so many threads read memory, in GB/s: each its own 128 MiB, more than caches hold.
func PeakRead(threads int) float64 {
	const size = 128 << 18 // floats of a thread
	data := make([]float32, threads*size)
	for i := range data {
		data[i] = 1 // or all pages would be the one page of zeros
	}
	return best(threads, &repeat{f: func(i int) { readBlocks(data[i*size : (i+1)*size]) }}, 4*float64(len(data))) / 1e9
}

type repeat struct{ f func(i int) }

func (r *repeat) Part(i int) { r.f(i) }

// best runs a job of so many parts again and again on so many threads and returns the work a second of the fastest round.
func best(threads int, job par.Job, work float64) float64 {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(threads))
	fastest := time.Duration(1 << 62)
	for begin := time.Now(); time.Since(begin) < 300*time.Millisecond; {
		start := time.Now()
		par.Do(threads, job)
		fastest = min(fastest, time.Since(start))
	}
	return work / fastest.Seconds()
}
