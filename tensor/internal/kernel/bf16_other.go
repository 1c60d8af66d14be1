//go:build !amd64 || purego

package kernel

func multiplyPairs(m, n, k int, a []uint32, rsa, csa, ats int, b []uint32, ldb int, c []float32, ldc int, acc bool) {
	multiplyPairsGo(m, n, k, a, rsa, csa, ats, b, ldb, c, ldc, acc)
}

func roundRow(src []float32, dst []uint32) { roundRowGo(src, dst) }

func interleave(k, cols int, src []float32, lds int, dst []uint32, ldd, half int) {
	interleaveGo(k, cols, src, lds, dst, ldd, half)
}

func peakLoopBF16() (func(rounds int), float64) { return nil, 0 }
