//go:build amd64 && !purego

package kernel

import "unsafe"

// quantTile is the argument of the quantised tile kernels, which know the offsets of its fields (gen/quant.go). Distances are in bytes.
type quantTile struct {
	a, q, c       unsafe.Pointer
	rsa, rsq, rsc int // between rows of A, groups of 16 rows of the weights, rows of C
	rows          int // 1 to 4
	blocks        int // of 32 steps of K, at least 1
	groups        int // of 16 columns of C: 4, 2 or 1, as the kernel has them
	acc           int
}

// quantRows is the number of rows of A up to which weights are widened in registers: with more, widening once into memory costs less.
const quantRows = 4

// quantInPlace is quantRows where there is assembly.
func quantInPlace() int {
	if active.gemm.lanes == 1 {
		return 0
	}
	return quantRows
}

// widenBlocks is widenGo with the best instructions.
func widenBlocks(f QuantFormat, blocks int, src []byte, dst []float32, ldd int) {
	if blocks == 0 {
		return
	}
	_, _ = src[blocks*quantGroup*f.Bytes()-1], dst[(blocks*quantBlock-1)*ldd+quantGroup-1]
	from, to := unsafe.SliceData(src), unsafe.SliceData(dst)
	switch wide := active.gemm.lanes == 16; {
	case active.gemm.lanes == 1:
		widenGo(f, blocks, src, dst, ldd)
	case wide && f == Q8_0:
		quantWidenQ8_0AVX512(blocks, from, to, 4*ldd)
	case wide && f == Q4_0:
		quantWidenQ4_0AVX512(blocks, from, to, 4*ldd)
	case wide:
		quantWidenQ4_1AVX512(blocks, from, to, 4*ldd)
	case f == Q8_0:
		quantWidenQ8_0AVX2(blocks, from, to, 4*ldd)
	case f == Q4_0:
		quantWidenQ4_0AVX2(blocks, from, to, 4*ldd)
	default:
		quantWidenQ4_1AVX2(blocks, from, to, 4*ldd)
	}
}

// multiplyQuant computes C[m][n] (+)= A W^T for up to quantRows rows, with the weights' rows from row on, which begins a group. It reads the
// weights once.
func multiplyQuant(m, n, k int, a []float32, lda int, q *Quant, row int, c []float32, ldc int, acc bool) {
	for n > 0 {
		groups := 1
		switch {
		case active.gemm.lanes == 16 && n >= 4*quantGroup:
			groups = 4
		case active.gemm.lanes == 8 && m == 1 && n >= 2*quantGroup:
			groups = 2
		case n < quantGroup:
			lastQuant(m, n, k, a, lda, q, row, c, ldc, acc)
			return
		}
		quantColumns(m, k, groups, a, lda, q, row, c, ldc, acc)
		width := groups * quantGroup
		n, row = n-width, row+width
		c = c[min(width, len(c)):]
	}
}

// lastQuant serves a group that is not whole: its kernel writes 16 columns, whatever is behind them.
func lastQuant(m, n, k int, a []float32, lda int, q *Quant, row int, c []float32, ldc int, acc bool) {
	var whole [quantRows * quantGroup]float32
	for r := range m {
		if acc {
			copy(whole[r*quantGroup:][:n], c[r*ldc:])
		}
	}
	quantColumns(m, k, 1, a, lda, q, row, whole[:], quantGroup, acc)
	for r := range m {
		copy(c[r*ldc:r*ldc+n], whole[r*quantGroup:])
	}
}

// quantColumns runs a kernel, in steps of K that can be preempted.
func quantColumns(m, k, groups int, a []float32, lda int, q *Quant, row int, c []float32, ldc int, acc bool) {
	const step = 16 * callK
	for k0 := 0; k0 < k; k0 += step {
		t := quantTile{rows: m, groups: groups, blocks: min(step, k-k0) / quantBlock, rsa: 4 * lda, rsq: q.stride(), rsc: 4 * ldc}
		if acc || k0 > 0 {
			t.acc = 1
		}
		t.a = unsafe.Pointer(unsafe.SliceData(a[k0:]))
		t.q = unsafe.Pointer(unsafe.SliceData(q.group(row/quantGroup, k0/quantBlock)))
		t.c = unsafe.Pointer(unsafe.SliceData(c))
		t.run(q.Format)
	}
}

func (t *quantTile) run(f QuantFormat) {
	p := (*byte)(unsafe.Pointer(t))
	switch wide := active.gemm.lanes == 16; {
	case wide && f == Q8_0:
		quantTileQ8_0AVX512(p)
	case wide && f == Q4_0:
		quantTileQ4_0AVX512(p)
	case wide:
		quantTileQ4_1AVX512(p)
	case f == Q8_0:
		quantTileQ8_0AVX2(p)
	case f == Q4_0:
		quantTileQ4_0AVX2(p)
	default:
		quantTileQ4_1AVX2(p)
	}
}
