package kernel

import (
	"fmt"
	"testing"
)

// BenchmarkAttention counts 4 floating-point operations for each key that a row sees and each dimension (backward: 10).
func BenchmarkAttention(b *testing.B) {
	for _, level := range Levels() {
		for _, headDim := range []int{32, 64, 128} {
			c := newAttnCase(headDim, causal(256))
			flops := 0
			for _, n := range c.lens {
				flops += 4 * int(n) * headDim
			}
			var s AttnScratch
			out, lse := c.forward(&s, 0, c.rows)
			dq := make([]float32, len(c.q))
			pages, dpages := c.in(c.pool), c.in(make([]float32, len(c.pool)))
			b.Run(fmt.Sprintf("%s/forward/%d", level, headDim), func(b *testing.B) {
				defer force(b, level)()
				for b.Loop() {
					AttnForward(&s, c.rows, c.q, c.qStride, c.lens, pages, headDim, attnScale, out, c.qStride, lse)
				}
				b.ReportMetric(float64(flops)*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GFLOP/s")
			})
			b.Run(fmt.Sprintf("%s/backward/%d", level, headDim), func(b *testing.B) {
				defer force(b, level)()
				for b.Loop() {
					AttnBackward(&s, c.rows, c.q, c.qStride, c.lens, pages, headDim, attnScale, out, c.dOut, c.qStride, lse, dq, c.qStride, dpages)
				}
				b.ReportMetric(2.5*float64(flops)*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GFLOP/s")
			})
		}
	}
}

type benchOp struct {
	name    string
	streams int64 // slices read or written
	run     func()
}

const benchN = 2048

func benchOps() []benchOp {
	var x [5][]float32
	for i := range x {
		x[i] = random(uint64(i), benchN)
	}
	coef := AdamCoef{LR: 1e-3, Beta1: 0.9, Beta2: 0.99, Eps: 1e-8, Scale: 1, Bias1: 1, Bias2: 1}
	return []benchOp{
		{"ExpSum", 2, func() { ExpSum(x[0], x[1], 1, 0) }},
		{"ExpStats", 1, func() { ExpStats(x[1], 1, 0) }},
		{"HeadGrad", 2, func() { HeadGrad(x[0], x[1], 1, 0, 1, 1) }},
		{"SiLUMul", 3, func() { SiLUMul(x[0], x[1], x[2]) }},
		{"SiLUMulGrad", 7, func() { SiLUMulGrad(x[0], x[3], x[1], x[2], x[4]) }},
		{"GELUTanh", 2, func() { GELUTanh(x[0], x[1]) }},
		{"Tanh", 2, func() { Tanh(x[0], x[1]) }},
		{"RMSNorm", 4, func() { RMSNorm(x[0], x[1], x[2], 1e-5) }},
		{"RMSNormGrad", 9, func() { RMSNormGrad(x[0], x[3], x[1], x[2], x[4], 1) }},
		{"LayerNormGrad", 9, func() { LayerNormGrad(x[0], x[3], x[3], x[1], x[2], x[4], 0, 1) }},
		{"AdamW", 7, func() { AdamW(x[0], x[1], x[2], x[3], coef) }},
		{"Rope", 3, func() { Rope(x[0], x[1], x[2], 32, 64, 64) }},
		{"Dot", 2, func() { Dot(x[1], x[2]) }},
		{"SumSquares", 1, func() { SumSquares(x[1]) }},
		{"AllFinite", 1, func() { AllFinite(x[1]) }},
		{"Add", 3, func() { Add(x[0], x[1], x[2]) }},
	}
}

// BenchmarkVectors reports bytes read and written by operations on 2048 elements.
func BenchmarkVectors(b *testing.B) {
	for _, op := range benchOps() {
		for _, level := range Levels() {
			b.Run(op.name+"/"+level, func(b *testing.B) {
				defer force(b, level)()
				b.SetBytes(4 * benchN * op.streams)
				for b.Loop() {
					op.run()
				}
			})
		}
	}
}

func force(b *testing.B, level string) func() {
	restore, ok := ForceLevel(level)
	if !ok {
		b.Skip(level + " is not there")
	}
	return restore
}
