//go:build amd64 && !purego

package kernel

import "unsafe"

// ntTile is the argument of the kernels that read B as [n][k], which know the offsets of its fields (gen/gemm_nt.go). Distances are in bytes.
type ntTile struct {
	a, b, c       unsafe.Pointer
	rsa, rsb, rsc int // between rows of A, of B, of C
	rows          int // 1 to gemmOps.rows
	quads         int // steps of K by four, at least 1
	groups        int // of 16 columns of C: 2 or 1, as the kernel has them
	acc           int
}

// multiplyNT computes C[m][n] (+)= A B^T with B as [n][k], for n a multiple of ntColumns and k one of ntSteps, with the chains of multiply.
func multiplyNT(m, n, k int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int, acc bool) {
	g := &active.gemm
	pa, pb, pc := unsafe.Pointer(unsafe.SliceData(a)), unsafe.Pointer(unsafe.SliceData(b)), unsafe.Pointer(unsafe.SliceData(c))
	for k0 := 0; k0 < k; k0 += callK {
		t := ntTile{rsa: 4 * lda, rsb: 4 * ldb, rsc: 4 * ldc, quads: min(callK, k-k0) / ntSteps}
		if acc || k0 > 0 {
			t.acc = 1
		}
		for j := 0; j < n; j += 2 * ntColumns {
			for i := 0; i < m; i += g.rows { // B stays in the cache
				t.rows = min(g.rows, m-i)
				t.a = unsafe.Add(pa, i*t.rsa+4*k0)
				t.columns(g, min(n-j, 2*ntColumns), unsafe.Add(pb, j*t.rsb+4*k0), unsafe.Add(pc, i*t.rsc+4*j))
			}
		}
	}
}

// columns runs the kernel over n columns, which are one or two groups. No pointer may pass the end of what it points into, not even at the end.
func (t *ntTile) columns(g *gemmOps, n int, b, c unsafe.Pointer) {
	t.groups = 1
	if n > ntColumns && (t.rows <= ntFew) == (g.lanes == 8) {
		t.groups = 2
	}
	for j := 0; j < n; j += t.groups * ntColumns {
		t.b, t.c = unsafe.Add(b, j*t.rsb), unsafe.Add(c, 4*j)
		if g.lanes == 16 {
			ntAVX512((*byte)(unsafe.Pointer(t)))
		} else {
			ntAVX2((*byte)(unsafe.Pointer(t)))
		}
	}
}
