package kernel

import "math"

// Add sets dst = a + b. dst may be a or b.
func Add(dst, a, b []float32) { active.add(dst, a[:len(dst)], b[:len(dst)]) }

// AddTo adds a to dst.
func AddTo(dst, a []float32) { active.addTo(dst, a[:len(dst)]) }

// Mul sets dst = a * b. dst may be a or b.
func Mul(dst, a, b []float32) { active.mul(dst, a[:len(dst)], b[:len(dst)]) }

// MulAddTo adds a * b to dst.
func MulAddTo(dst, a, b []float32) { active.mulAddTo(dst, a[:len(dst)], b[:len(dst)]) }

// Scale sets dst = a * s. dst may be a.
func Scale(dst, a []float32, s float32) { active.scale(dst, a[:len(dst)], s) }

// Axpy adds s * a to dst.
func Axpy(dst []float32, s float32, a []float32) { active.axpy(dst, a[:len(dst)], s) }

// Dot returns the row sum of a * b.
func Dot(a, b []float32) float32 { return active.dot(a, b[:len(a)]) }

// Sum returns the row sum of a.
func Sum(a []float32) float32 { return active.sum(a) }

// Max returns the largest element, passing over NaN; -Inf for none.
func Max(a []float32) float32 { return active.max(a) }

// SumSquares returns the sum of squares in float64 over 16 virtual lanes.
func SumSquares(a []float32) float64 { return active.sumSquares(a) }

// finiteChunk bounds one assembly call on a whole tensor: assembly cannot be preempted.
const finiteChunk = 1 << 18

// AllFinite reports whether no element is NaN or infinite.
func AllFinite(a []float32) bool {
	for len(a) > finiteChunk {
		if active.finite(a[:finiteChunk]) != 0 {
			return false
		}
		a = a[finiteChunk:]
	}
	return active.finite(a) == 0
}

// ExpSum sets dst = exp(x*scale - shift) and returns the row sum. dst may be x.
func ExpSum(dst, x []float32, scale, shift float32) float32 {
	return active.expSum(dst, x[:len(dst)], scale, shift)
}

// ExpStats returns the row sums of exp(t) and exp(t)*t, t = x*scale - shift; where exp(t) is 0 both are.
func ExpStats(x []float32, scale, shift float32) (sumExp, sumExpT float32) {
	return active.expStats(x, scale, shift)
}

// HeadGrad sets dst = exp(t) * (a + b*t), t = z*scale - lse: the gradient of log-probs and entropies by a row of logits. dst may be z.
func HeadGrad(dst, z []float32, scale, lse, a, b float32) {
	active.headGrad(dst, z[:len(dst)], scale, lse, a, b)
}

// RMSNorm sets dst = x*rstd*w with rstd = 1/sqrt(mean(x^2) + eps), which it returns. dst may be x.
func RMSNorm(dst, x, w []float32, eps float32) (rstd float32) {
	n := len(dst)
	rstd = rootReciprocal(active.dot(x[:n], x[:n]), n, eps)
	active.normApply(dst, x[:n], w[:n], 0, rstd)
	return rstd
}

// RMSNormGrad adds the gradients of RMSNorm to dx and dw; either may be nil.
func RMSNormGrad(dx, dw, x, w, dy []float32, rstd float32) {
	n := len(x)
	if dx != nil {
		c := active.normDot(w[:n], dy[:n], x, 0) / float32(n) * rstd * rstd
		active.normGradX(dx[:n], x, w[:n], dy[:n], 0, rstd, 0, c)
	}
	if dw != nil {
		active.normGradW(dw[:n], x, dy[:n], 0, rstd)
	}
}

// LayerNorm sets dst = (x-mean)*rstd*w + b with rstd = 1/sqrt(variance + eps); b may be nil. dst may be x.
func LayerNorm(dst, x, w, b []float32, eps float32) (mean, rstd float32) {
	n := len(dst)
	mean = active.sum(x[:n]) / float32(n)
	rstd = rootReciprocal(active.normSquares(x[:n], mean), n, eps)
	active.normApply(dst, x[:n], w[:n], mean, rstd)
	if b != nil {
		active.addTo(dst, b[:n])
	}
	return mean, rstd
}

// LayerNormGrad adds the gradients of LayerNorm; dx, dw and db may be nil.
func LayerNormGrad(dx, dw, db, x, w, dy []float32, mean, rstd float32) {
	n := len(x)
	if dx != nil {
		c1 := active.dot(w[:n], dy[:n]) / float32(n)
		c2 := active.normDot(w[:n], dy[:n], x, mean) / float32(n) * rstd * rstd
		active.normGradX(dx[:n], x, w[:n], dy[:n], mean, rstd, c1, c2)
	}
	if dw != nil {
		active.normGradW(dw[:n], x, dy[:n], mean, rstd)
	}
	if db != nil {
		active.addTo(db[:n], dy[:n])
	}
}

func rootReciprocal(sum float32, n int, eps float32) float32 {
	return 1 / float32(math.Sqrt(float64(sum/float32(n)+eps)))
}

// Rope rotates the first rot dimensions of each head of one row x [heads][headDim] in place; pairs are (i, i+rot/2); cos and sin hold rot/2 values.
func Rope(x, cos, sin []float32, heads, headDim, rot int) { turn(x, cos, sin, heads, headDim, rot, 1) }

// RopeGrad is the inverse rotation.
func RopeGrad(x, cos, sin []float32, heads, headDim, rot int) {
	turn(x, cos, sin, heads, headDim, rot, -1)
}

func turn(x, cos, sin []float32, heads, headDim, rot int, sign float32) {
	if rot > headDim {
		panic("kernel: more rotary dimensions than a head has")
	}
	active.rope(x[:heads*headDim], cos[:rot/2], sin[:rot/2], heads, headDim, sign)
}

// AdamCoef are the coefficients of one AdamW update. Scale multiplies the gradient (clipping); Bias1 and Bias2 are 1 - beta^t.
type AdamCoef struct{ LR, Beta1, Beta2, Eps, Decay, Scale, Bias1, Bias2 float32 }

// AdamW updates parameters p and moments m, v from the gradient g as PyTorch does: p *= 1 - lr*decay; m and v move towards g and g^2;
// p -= lr/bias1 * m / (sqrt(v)/sqrt(bias2) + eps) (Loshchilov and Hutter 2019, arXiv 1711.05101).
func AdamW(p, g, m, v []float32, c AdamCoef) {
	n := len(p)
	lr := float64(c.LR)
	active.adamW(p, g[:n], m[:n], v[:n], float32(1-lr*float64(c.Decay)), c.Scale, oneMinus(c.Beta1), c.Beta2, oneMinus(c.Beta2),
		float32(math.Sqrt(float64(c.Bias2))), c.Eps, float32(lr/float64(c.Bias1)))
}

// oneMinus returns 1-b for a decimal b that was rounded to float32: 0.001 for 0.999, where 1-float32(0.999) is off by 5e-5 of itself.
func oneMinus(b float32) float32 { return float32(math.Round((1-float64(b))*1e7) / 1e7) }
