//go:build !amd64 || purego

package kernel

func widenBlocks(f QuantFormat, blocks int, src []byte, dst []float32, ldd int) {
	widenGo(f, blocks, src, dst, ldd)
}

// quantInPlace is the number of rows of A up to which weights are widened in registers.
func quantInPlace() int { return 0 }

func multiplyQuant(m, n, k int, a []float32, lda int, q *Quant, row int, c []float32, ldc int, acc bool) {
	panic("kernel: weights are widened in registers by assembly only")
}
