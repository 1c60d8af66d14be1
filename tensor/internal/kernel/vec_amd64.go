//go:build amd64 && !purego

package kernel

var (
	avx512Ops = ops{name: "avx512", vecOps: vecAVX512, gemm: gemmAVX512}
	avx2Ops   = ops{name: "avx2", vecOps: vecAVX2, gemm: gemmAVX2}
)

var vecAVX512 = vecOps{
	add:         addAVX512,
	mul:         mulAVX512,
	mulAddTo:    mulAddToAVX512,
	addTo:       addToAVX512,
	scale:       scaleAVX512,
	axpy:        axpyAVX512,
	div:         divAVX512,
	dot:         dotAVX512,
	sum:         sumAVX512,
	max:         maxAVX512,
	finite:      finiteAVX512,
	sumSquares:  sumSquaresAVX512,
	expSum:      expSumAVX512,
	expStats:    expStatsAVX512,
	headGrad:    headGradAVX512,
	normSquares: normSquaresAVX512,
	normApply:   normApplyAVX512,
	normDot:     normDotAVX512,
	normGradX:   normGradXAVX512,
	normGradW:   normGradWAVX512,
	siluMul:     siluMulAVX512,
	siluMulGrad: siluMulGradAVX512,
	silu:        siluAVX512,
	siluGrad:    siluGradAVX512,
	gelu:        geluAVX512,
	geluGrad:    geluGradAVX512,
	tanh:        tanhAVX512,
	tanhGrad:    tanhGradAVX512,
	relu:        reluAVX512,
	reluGrad:    reluGradAVX512,
	adamW:       adamWAVX512,
	rope:        ropeAVX512,
	attnProd:    attnProdGo, attnSoftmax: attnSoftmaxGo, attnGrad: attnGradGo,
}

var vecAVX2 = vecOps{
	add:         addAVX2,
	mul:         mulAVX2,
	mulAddTo:    mulAddToAVX2,
	addTo:       addToAVX2,
	scale:       scaleAVX2,
	axpy:        axpyAVX2,
	div:         divAVX2,
	dot:         dotAVX2,
	sum:         sumAVX2,
	max:         maxAVX2,
	finite:      finiteAVX2,
	sumSquares:  sumSquaresAVX2,
	expSum:      expSumAVX2,
	expStats:    expStatsAVX2,
	headGrad:    headGradAVX2,
	normSquares: normSquaresAVX2,
	normApply:   normApplyAVX2,
	normDot:     normDotAVX2,
	normGradX:   normGradXAVX2,
	normGradW:   normGradWAVX2,
	siluMul:     siluMulAVX2,
	siluMulGrad: siluMulGradAVX2,
	silu:        siluAVX2,
	siluGrad:    siluGradAVX2,
	gelu:        geluAVX2,
	geluGrad:    geluGradAVX2,
	tanh:        tanhAVX2,
	tanhGrad:    tanhGradAVX2,
	relu:        reluAVX2,
	reluGrad:    reluGradAVX2,
	adamW:       adamWAVX2,
	rope:        ropeAVX2,
	attnProd:    attnProdGo, attnSoftmax: attnSoftmaxGo, attnGrad: attnGradGo,
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
