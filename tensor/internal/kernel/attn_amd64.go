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
