//go:build amd64 && !purego

package kernel

import "unsafe"

// The kernels compute rows of 32, of 16, or of up to 16 columns; strides are in bytes.

func attnProdAVX512(m, n, k int, a []float32, rsa, csa int, b []float32, ldb int, c []float32, ldc int, corr []float32, mode int) {
	pa, pr := unsafe.SliceData(a), unsafe.SliceData(corr)
	x := 0 // the first column of the next call
	for ; x+32 <= n; x += 32 {
		attnProd32AVX512(m, k, pa, 4*rsa, 4*csa, &b[x], 4*ldb, &c[x], 4*ldc, pr, mode, 32)
	}
	if x+16 <= n {
		attnProd16AVX512(m, k, pa, 4*rsa, 4*csa, &b[x], 4*ldb, &c[x], 4*ldc, pr, mode, 16)
		x += 16
	}
	if x < n {
		attnProdTailAVX512(m, k, pa, 4*rsa, 4*csa, &b[x], 4*ldb, &c[x], 4*ldc, pr, mode, n-x)
	}
}

func attnProdAVX2(m, n, k int, a []float32, rsa, csa int, b []float32, ldb int, c []float32, ldc int, corr []float32, mode int) {
	pa, pr := unsafe.SliceData(a), unsafe.SliceData(corr)
	x := 0 // the first column of the next call
	for ; x+32 <= n; x += 32 {
		attnProd32AVX2(m, k, pa, 4*rsa, 4*csa, &b[x], 4*ldb, &c[x], 4*ldc, pr, mode, 32)
	}
	if x+16 <= n {
		attnProd16AVX2(m, k, pa, 4*rsa, 4*csa, &b[x], 4*ldb, &c[x], 4*ldc, pr, mode, 16)
		x += 16
	}
	if x < n {
		attnProdTailAVX2(m, k, pa, 4*rsa, 4*csa, &b[x], 4*ldb, &c[x], 4*ldc, pr, mode, n-x)
	}
}

// attnLanes is the argument of the kernels of several lanes, which know the offsets of its fields (gen/attn_lanes.go). Distances are in bytes.
type attnLanes struct {
	a, c, corr unsafe.Pointer
	b          [4]unsafe.Pointer
	ra, rc     int // between lanes of A and C
	ldb        int
	k          int // at least 1
	n          int // lanes: 4, 2 or 1
	mode       int
	next       int // from a row of B to what to ask for meanwhile
}

// attnLanesAsm: see vecOps.attnLanes.
func attnLanesAsm(first, lanes, group, n, k int, a []float32, ra int, b []float32, rb, ldb int, c []float32, rc int, corr []float32, mode, next int) {
	x := 0
	for width := 32; x+16 <= n; x += width {
		if x+32 > n {
			width = 16
		}
		t := attnLanes{ra: 4 * ra, rc: 4 * rc, ldb: 4 * ldb, k: k, mode: mode, next: next}
		for i := 0; i < lanes; i += t.n {
			t.n = 1
			for t.n < 4 && i+2*t.n <= lanes && 2*t.n*width <= 8*active.gemm.lanes {
				t.n *= 2
			}
			t.a, t.c = unsafe.Pointer(&a[i*ra]), unsafe.Pointer(&c[i*rc+x])
			if mode == prodRescale {
				t.corr = unsafe.Pointer(&corr[i])
			}
			for l := range t.n {
				t.b[l] = unsafe.Pointer(&b[(first+i+l)/group*rb+x])
			}
			t.run(width)
		}
	}
	if x < n {
		attnLanesGo(first, lanes, group, n-x, k, a, ra, b[x:], rb, ldb, c[x:], rc, corr, mode, next)
	}
}

func (t *attnLanes) run(width int) {
	p := (*byte)(unsafe.Pointer(t))
	switch wide := active.gemm.lanes == 16; {
	case wide && width == 32:
		attnLanes32AVX512(p)
	case wide:
		attnLanes16AVX512(p)
	case width == 32:
		attnLanes32AVX2(p)
	default:
		attnLanes16AVX2(p)
	}
}

// distance returns the bytes from one slice to another.
func distance(from, to []float32) int {
	return int(uintptr(unsafe.Pointer(&to[0])) - uintptr(unsafe.Pointer(&from[0])))
}
