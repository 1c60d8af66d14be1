//go:build amd64 && !purego

package kernel

import "math"

var (
	avx512Ops = ops{name: "avx512", vecOps: vecAVX512(), gemm: gemmAVX512}
	avx2Ops   = ops{name: "avx2", vecOps: vecAVX2(), gemm: gemmAVX2}
)

func vecAVX512() vecOps {
	o := goVec // what has no assembly is the same Go on both
	o.add = addAVX512
	o.mul = mulAVX512
	o.mulAddTo = mulAddToAVX512
	o.addTo = addToAVX512
	o.scale = scaleAVX512
	o.axpy = axpyAVX512
	o.div = divAVX512
	o.dot = dotAVX512
	o.sum = sumAVX512
	o.sumSquares = sumSquaresAVX512
	o.finite = finiteAVX512
	o.expSum = expSumAVX512
	o.expStats = expStatsAVX512
	o.headGrad = headGradAVX512
	o.normSquares = normSquaresAVX512
	o.normApply = normApplyAVX512
	o.normDot = normDotAVX512
	o.normGradX = normGradXAVX512
	o.normGradW = normGradWAVX512
	o.siluMul = siluMulAVX512
	o.siluMulGrad = siluMulGradAVX512
	o.adamW = adamWAVX512
	o.max = func(a []float32) float32 {
		if len(a) == 0 {
			return float32(math.Inf(-1))
		}
		return maxAVX512(a)
	}
	page := pageOps{tile: gemmAVX512.tile, maxRow: gemmAVX512.maxRow, width: gemmAVX512.lanes * gemmAVX512.maxVec, scale: scaleAVX512, max: maxAVX512, expSum: expSumAVX512, grad: attnGradAVX512, rope: ropeAVX512}
	o.rope, o.attnProd, o.attnSoftmax, o.attnGrad = page.rotate, page.prod, page.softmax, page.weights
	return o
}

func vecAVX2() vecOps {
	o := goVec // what has no assembly is the same Go on both
	o.add = addAVX2
	o.mul = mulAVX2
	o.mulAddTo = mulAddToAVX2
	o.addTo = addToAVX2
	o.scale = scaleAVX2
	o.axpy = axpyAVX2
	o.div = divAVX2
	o.dot = dotAVX2
	o.sum = sumAVX2
	o.sumSquares = sumSquaresAVX2
	o.finite = finiteAVX2
	o.expSum = expSumAVX2
	o.expStats = expStatsAVX2
	o.headGrad = headGradAVX2
	o.normSquares = normSquaresAVX2
	o.normApply = normApplyAVX2
	o.normDot = normDotAVX2
	o.normGradX = normGradXAVX2
	o.normGradW = normGradWAVX2
	o.siluMul = siluMulAVX2
	o.siluMulGrad = siluMulGradAVX2
	o.adamW = adamWAVX2
	o.max = func(a []float32) float32 {
		if len(a) == 0 {
			return float32(math.Inf(-1))
		}
		return maxAVX2(a)
	}
	page := pageOps{tile: gemmAVX2.tile, maxRow: gemmAVX2.maxRow, width: gemmAVX2.lanes * gemmAVX2.maxVec, scale: scaleAVX2, max: maxAVX2, expSum: expSumAVX2, grad: attnGradAVX2, rope: ropeAVX2}
	o.rope, o.attnProd, o.attnSoftmax, o.attnGrad = page.rotate, page.prod, page.softmax, page.weights
	return o
}

// pageOps builds the operations on heads and pages from row kernels.
type pageOps struct {
	tile          func(rows, cols, k int, a []float32, rsa, csa int, b []float32, ldb int, c []float32, ldc int, acc bool)
	maxRow, width int
	scale         func(dst, a []float32, s float32)
	max           func(a []float32) float32
	expSum        func(dst, x []float32, scale, shift float32) float32
	grad          func(p, dp []float32, scale, lse, d float32)
	rope          func(x1, x2, cos, sin []float32)
}

func (o *pageOps) rotate(x, cos, sin []float32, heads, headDim int, sign float32) {
	half := len(cos)
	for h := range heads {
		x1, x2 := x[h*headDim:][:half], x[h*headDim+half:][:half]
		if sign < 0 {
			x1, x2 = x2, x1 // the inverse rotation is the rotation of the swapped halves
		}
		o.rope(x1, x2, cos, sin)
	}
}

func (o *pageOps) prod(m, n, k int, a []float32, rsa, csa int, b []float32, ldb int, c []float32, ldc int, corr []float32, mode int) {
	if mode == prodRescale {
		for i := range m {
			if corr[i] != 1 {
				row := c[i*ldc:][:n]
				o.scale(row, row, corr[i])
			}
		}
	}
	for j := 0; j < n; j += o.width {
		for i := 0; i < m; i += o.maxRow {
			o.tile(min(o.maxRow, m-i), min(o.width, n-j), k, a[i*rsa:], rsa, csa, b[j:], ldb, c[i*ldc+j:], ldc, mode != prodSet)
		}
	}
}

func (o *pageOps) softmax(s []float32, valid []int32, scale float32, m, l, corr []float32) {
	for r := range corr {
		row := s[r*PageTokens:][:PageTokens]
		n := int(valid[r])
		clear(row[n:])
		corr[r] = 1
		if n == 0 {
			continue
		}
		top := max(m[r], o.max(row[:n])*scale)
		sum := o.expSum(row[:n], row[:n], scale, top)
		if top != m[r] {
			corr[r] = m[r] - top
			o.expSum(corr[r:r+1], corr[r:r+1], 1, 0)
			m[r] = top
		}
		l[r] = float32(l[r]*corr[r]) + sum
	}
}

func (o *pageOps) weights(s, dp []float32, valid []int32, scale float32, lse, d []float32) {
	for r := range d {
		p, g := s[r*PageTokens:][:PageTokens], dp[r*PageTokens:][:PageTokens]
		n := int(valid[r])
		o.grad(p[:n], g[:n], scale, lse[r], d[r])
		clear(p[n:])
		clear(g[n:])
	}
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
