//go:build !amd64 || purego

package kernel

func multiply(m, n, k int, a []float32, rsa, csa, ats int, b []float32, ldb int, c []float32, ldc int, acc bool) {
	multiplyGo(m, n, k, a, rsa, csa, ats, b, ldb, c, ldc, acc)
}

// multiplyNT has no plain form: gemmGo asks for none.
func multiplyNT(m, n, k int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int, acc bool) {
	panic("kernel: no such instructions")
}

// multiplyRow has none either.
func multiplyRow(n, k int, a []float32, b []float32, ldb int, c []float32, acc bool) {
	panic("kernel: no such instructions")
}

func packWhole(int, []float32, int, []float32) bool { return false }

func transposeBlocks(rows, cols int, src []float32, lds int, dst []float32, ldd int) (doneRows, doneCols int) {
	return 0, 0
}

func peakLoop() (func(rounds int), float64) { return nil, 0 }

func distance(from, to []float32) int { return 0 }

func readBlocks(data []float32) { _ = Sum(data) }
