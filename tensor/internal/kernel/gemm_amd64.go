//go:build amd64 && !purego

package kernel

import "unsafe"

type tileFunc = func(k int, a *float32, rsa int, csa int, b *float32, ldb int, c *float32, ldc int, acc int, mask int)

var tilesAVX512 = [8][3]tileFunc{
	{tile1x1AVX512, tile1x2AVX512, tile1x3AVX512}, {tile2x1AVX512, tile2x2AVX512, tile2x3AVX512},
	{tile3x1AVX512, tile3x2AVX512, tile3x3AVX512}, {tile4x1AVX512, tile4x2AVX512, tile4x3AVX512},
	{tile5x1AVX512, tile5x2AVX512, tile5x3AVX512}, {tile6x1AVX512, tile6x2AVX512, tile6x3AVX512},
	{tile7x1AVX512, tile7x2AVX512, tile7x3AVX512}, {tile8x1AVX512, tile8x2AVX512, tile8x3AVX512},
}

var tilesAVX2 = [4][3]tileFunc{
	{tile1x1AVX2, tile1x2AVX2, tile1x3AVX2}, {tile2x1AVX2, tile2x2AVX2, tile2x3AVX2},
	{tile3x1AVX2, tile3x2AVX2, tile3x3AVX2}, {tile4x1AVX2, tile4x2AVX2, tile4x3AVX2},
}

var maskedAVX2 = [4]tileFunc{tile1x1AVX2Masked, tile2x1AVX2Masked, tile3x1AVX2Masked, tile4x1AVX2Masked}

var gemmAVX512 = gemmOps{lanes: 16, maxRow: 8, maxVec: 3, tile: tileAVX512,
	transpose16: func(src []float32, lds int, dst []float32, ldd int) {
		transpose16AVX512(&src[0], 4*lds, &dst[0], 4*ldd)
	}}

var gemmAVX2 = gemmOps{lanes: 8, maxRow: 4, maxVec: 3, tile: tileAVX2}

// chunkK bounds the time of one call: assembly cannot be preempted.
const chunkK = 1 << 14

func tileAVX512(rows, cols, k int, a []float32, rsa, csa int, b []float32, ldb int, c []float32, ldc int, acc bool) {
	vecs := (cols + 15) / 16
	mask := 1<<(cols-16*(vecs-1)) - 1
	run(tilesAVX512[rows-1][vecs-1], k, a, rsa, csa, b, ldb, c, ldc, acc, mask)
}

func tileAVX2(rows, cols, k int, a []float32, rsa, csa int, b []float32, ldb int, c []float32, ldc int, acc bool) {
	full := cols / 8
	if full > 0 {
		run(tilesAVX2[rows-1][full-1], k, a, rsa, csa, b, ldb, c, ldc, acc, 0)
	}
	if tail := cols - 8*full; tail > 0 {
		run(maskedAVX2[rows-1], k, a, rsa, csa, b[8*full:], ldb, c[8*full:], ldc, acc, tail)
	}
}

func run(f tileFunc, k int, a []float32, rsa, csa int, b []float32, ldb int, c []float32, ldc int, acc bool, mask int) {
	start := 0
	if acc {
		start = 1
	}
	pa, pb, pc := unsafe.SliceData(a), unsafe.SliceData(b), unsafe.SliceData(c)
	for k > chunkK {
		f(chunkK, pa, 4*rsa, 4*csa, pb, 4*ldb, pc, 4*ldc, start, mask)
		pa = (*float32)(unsafe.Add(unsafe.Pointer(pa), 4*csa*chunkK))
		pb = (*float32)(unsafe.Add(unsafe.Pointer(pb), 4*ldb*chunkK))
		k, start = k-chunkK, 1
	}
	f(k, pa, 4*rsa, 4*csa, pb, 4*ldb, pc, 4*ldc, start, mask)
}
