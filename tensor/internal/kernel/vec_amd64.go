//go:build amd64 && !purego

package kernel

var (
	avx512Ops = withGemm("avx512", gemmAVX512)
	avx2Ops   = withGemm("avx2", gemmAVX2)
)

func withGemm(name string, g gemmOps) ops {
	o := goOps
	o.name, o.gemm = name, g
	return o
}

// peakLoop returns the loop that PeakFMA times and its floating-point operations a round: 12 instructions of 2 operations a lane.
func peakLoop() (func(n int), float64) {
	switch active.name {
	case "avx512":
		return peakAVX512, 12 * 2 * 16
	case "avx2":
		return peakAVX2, 12 * 2 * 8
	}
	return nil, 0
}
