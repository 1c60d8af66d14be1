package kernel

import (
	"fmt"
	"runtime"
	"testing"
	"time"
)

// The shapes are those of language models of some hundred to some thousand million operations a product: training, the vocabulary's head, decoding.
var benchShapes = [][3]int{{1024, 1024, 1024}, {8, 576, 1536}, {64, 576, 1536}, {512, 576, 1536}, {2048, 256, 1024}, {512, 576, 49152}, {1, 576, 49152}, {1, 576, 1536}}

// BenchmarkGemm names a product M x K x N. "best" is that of the fastest round and "%peak" its ratio to the limit of as many threads: on a
// shared machine means say little.
func BenchmarkGemm(b *testing.B) {
	for _, threads := range []int{1, 2} {
		peak := PeakFMA(threads)
		for _, s := range benchShapes {
			for _, f := range forms {
				b.Run(fmt.Sprintf("%s/%dx%dx%d/threads=%d", f.name, s[0], s[1], s[2], threads), func(b *testing.B) {
					defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(threads))
					m, k, n := s[0], s[1], s[2]
					o := makeOperands(m, n, k, f.ta, f.tb, 0)
					flops, best := 2*float64(m)*float64(n)*float64(k), 0.0
					for b.Loop() {
						start := time.Now()
						f.f(m, n, k, o.a, o.lda, o.b, o.ldb, o.c, o.ldc, false)
						best = max(best, flops/time.Since(start).Seconds()/1e9)
					}
					b.ReportMetric(flops*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
					b.ReportMetric(best, "best")
					if peak > 0 {
						b.ReportMetric(100*best/peak, "%peak")
					}
				})
			}
		}
	}
}

// BenchmarkSmall has the shapes of attention over one page of 32 keys with heads of 64.
func BenchmarkSmall(b *testing.B) {
	for _, s := range [][3]int{{16, 32, 64}, {16, 64, 32}, {3, 32, 64}, {3, 64, 32}, {32, 64, 16}} {
		b.Run(fmt.Sprint(s), func(b *testing.B) {
			m, n, k := s[0], s[1], s[2]
			o := makeOperands(m, n, k, false, false, 0)
			for b.Loop() {
				Small(m, n, k, o.a, o.lda, 1, o.b, o.ldb, o.c, o.ldc, true)
			}
			b.ReportMetric(2*float64(m)*float64(n)*float64(k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		})
	}
}

func BenchmarkPeak(b *testing.B) {
	for _, threads := range []int{1, 2} {
		for _, level := range Levels() {
			restore, _ := ForceLevel(level)
			b.Run(fmt.Sprintf("fma/%s/threads=%d", level, threads), func(b *testing.B) {
				b.ReportMetric(PeakFMA(threads), "GFLOP/s")
			})
			restore()
		}
		b.Run(fmt.Sprintf("read/threads=%d", threads), func(b *testing.B) { b.ReportMetric(PeakRead(threads), "GB/s") })
	}
}
