//go:build amd64 && !purego

package kernel

import "unsafe"

func attnProdAVX512(m, n, k int, a []float32, rsa, csa int, b []float32, ldb int, c []float32, ldc int, corr []float32, mode int) {
	pa, pb, pc, pr := unsafe.SliceData(a), unsafe.SliceData(b), unsafe.SliceData(c), unsafe.SliceData(corr)
	for ; n >= 32; n -= 32 {
		attnProd32AVX512(m, k, pa, 4*rsa, 4*csa, pb, 4*ldb, pc, 4*ldc, pr, mode, 32)
		pb, pc = next(pb, 32), next(pc, 32)
	}
	if n >= 16 {
		attnProd16AVX512(m, k, pa, 4*rsa, 4*csa, pb, 4*ldb, pc, 4*ldc, pr, mode, 16)
		pb, pc, n = next(pb, 16), next(pc, 16), n-16
	}
	if n > 0 {
		attnProdTailAVX512(m, k, pa, 4*rsa, 4*csa, pb, 4*ldb, pc, 4*ldc, pr, mode, n)
	}
}

func attnProdAVX2(m, n, k int, a []float32, rsa, csa int, b []float32, ldb int, c []float32, ldc int, corr []float32, mode int) {
	pa, pb, pc, pr := unsafe.SliceData(a), unsafe.SliceData(b), unsafe.SliceData(c), unsafe.SliceData(corr)
	for ; n >= 32; n -= 32 {
		attnProd32AVX2(m, k, pa, 4*rsa, 4*csa, pb, 4*ldb, pc, 4*ldc, pr, mode, 32)
		pb, pc = next(pb, 32), next(pc, 32)
	}
	if n >= 16 {
		attnProd16AVX2(m, k, pa, 4*rsa, 4*csa, pb, 4*ldb, pc, 4*ldc, pr, mode, 16)
		pb, pc, n = next(pb, 16), next(pc, 16), n-16
	}
	if n > 0 {
		attnProdTailAVX2(m, k, pa, 4*rsa, 4*csa, pb, 4*ldb, pc, 4*ldc, pr, mode, n)
	}
}

// next moves n floats on: past the end only when the columns end there, and then it is not read.
func next(p *float32, n int) *float32 {
	return (*float32)(unsafe.Add(unsafe.Pointer(p), 4*n))
}
