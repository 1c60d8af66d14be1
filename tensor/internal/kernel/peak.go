package kernel

import (
	"runtime"
	"time"

	"github.com/hone-lm/hone/tensor/internal/par"
)

type loop struct{ f func() }

func (l loop) Part(int) { l.f() }

// PeakFMA measures what a loop of independent fused multiply-adds on registers reaches on so many threads, in GFLOP/s; 0 where this build has no assembly.
func PeakFMA(threads int) float64 {
	rounds, flops := peakLoop()
	if rounds == nil {
		return 0
	}
	const n = 1 << 16
	return best(threads, func() { rounds(n) }, flops*n*float64(threads)) / 1e9
}

// PeakRead measures how fast memory is read on so many threads, in GB/s: sums over 256 MiB a thread.
func PeakRead(threads int) float64 {
	data := make([]float32, 64<<20)
	for i := range data {
		data[i] = 1
	}
	return best(threads, func() { _ = Sum(data) }, 4*float64(len(data))*float64(threads)) / 1e9
}

// best runs f on every thread several times and returns work per second of the fastest round.
func best(threads int, f func(), work float64) float64 {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(threads))
	fastest := time.Duration(1 << 62)
	for begin := time.Now(); time.Since(begin) < 300*time.Millisecond; {
		start := time.Now()
		par.Do(threads, loop{f})
		fastest = min(fastest, time.Since(start))
	}
	return work / fastest.Seconds()
}
