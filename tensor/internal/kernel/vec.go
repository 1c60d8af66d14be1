package kernel

import "math"

// Add sets dst = a + b.
func Add(dst, a, b []float32) { active.add(dst, a[:len(dst)], b[:len(dst)]) }

// AddTo adds a to dst.
func AddTo(dst, a []float32) { active.addTo(dst, a[:len(dst)]) }

// Mul sets dst = a * b.
func Mul(dst, a, b []float32) { active.mul(dst, a[:len(dst)], b[:len(dst)]) }

// MulAddTo adds a * b to dst.
func MulAddTo(dst, a, b []float32) { active.mulAddTo(dst, a[:len(dst)], b[:len(dst)]) }

// Scale sets dst = a * s.
func Scale(dst, a []float32, s float32) { active.scale(dst, a[:len(dst)], s) }

// Axpy adds s * a to dst.
func Axpy(dst []float32, s float32, a []float32) { active.axpy(dst, a[:len(dst)], s) }

// Dot returns the row sum of a * b.
func Dot(a, b []float32) float32 { return active.dot(a, b[:len(a)]) }

// Sum returns the row sum of a.
func Sum(a []float32) float32 { return active.sum(a) }

// Max returns the largest element, -Inf for none.
func Max(a []float32) float32 { return active.max(a) }

// SumSquares returns the sum of squares in float64 over 16 virtual lanes.
func SumSquares(a []float32) float64 { return active.sumSquares(a) }

// AllFinite reports whether no element is NaN or infinite.
func AllFinite(a []float32) bool { return active.finite(a) == 0 }

// ExpSum sets dst = exp(x*scale - shift) and returns the row sum. dst may be x.
func ExpSum(dst, x []float32, scale, shift float32) float32 {
	return active.expSum(dst, x[:len(dst)], scale, shift)
}

// ExpStats returns the row sums of exp(t) and exp(t)*t, t = x*scale - shift.
func ExpStats(x []float32, scale, shift float32) (sumExp, sumExpT float32) {
	return active.expStats(x, scale, shift)
}

// HeadGrad sets dst = exp(t) * (a + b*t), t = z*scale - lse: the gradient of log-probs and entropies by a row of logits. dst may be z.
func HeadGrad(dst, z []float32, scale, lse, a, b float32) {
	active.headGrad(dst, z[:len(dst)], scale, lse, a, b)
}

// RMSNorm sets dst = x*rstd*w with rstd = 1/sqrt(mean(x^2) + eps), which it returns.
func RMSNorm(dst, x, w []float32, eps float32) (rstd float32) {
	n := len(dst)
	rstd = 1 / float32(math.Sqrt(float64(active.dot(x[:n], x[:n])/float32(n)+eps)))
	active.scaleMul(dst, x[:n], w[:n], rstd)
	return rstd
}

// RMSNormGrad adds the gradients of RMSNorm to dx and dw; either may be nil.
func RMSNormGrad(dx, dw, x, w, dy []float32, rstd float32) {
	n := len(x)
	if dx != nil {
		c := active.dot3(dy[:n], w[:n], x) * rstd * rstd * rstd / float32(n)
		active.rmsGradX(dx[:n], x, w[:n], dy[:n], rstd, c)
	}
	if dw != nil {
		active.mulScaleAddTo(dw[:n], dy[:n], x, rstd)
	}
}

// LayerNorm sets dst = (x-mean)*rstd*w + b; b may be nil. Statistics are taken in float64.
func LayerNorm(dst, x, w, b []float32, eps float32) (mean, rstd float32) {
	sum, square := 0.0, 0.0
	for _, v := range x {
		sum += float64(v)
	}
	m := sum / float64(len(x))
	for _, v := range x {
		square += (float64(v) - m) * (float64(v) - m)
	}
	mean, rstd = float32(m), float32(1/math.Sqrt(square/float64(len(x))+float64(eps)))
	for i, v := range x {
		dst[i] = float32((v-mean)*rstd) * w[i]
		if b != nil {
			dst[i] += b[i]
		}
	}
	return mean, rstd
}

// LayerNormGrad adds the gradients of LayerNorm; dx, dw and db may be nil.
func LayerNormGrad(dx, dw, db, x, w, dy []float32, mean, rstd float32) {
	n := float64(len(x))
	var sum, sumX float64
	for i, v := range x {
		g := float64(dy[i]) * float64(w[i])
		sum += g
		sumX += g * float64((v-mean)*rstd)
	}
	for i, v := range x {
		norm := (v - mean) * rstd
		if dw != nil {
			dw[i] += float32(dy[i] * norm)
		}
		if db != nil {
			db[i] += dy[i]
		}
		if dx != nil {
			dx[i] += float32(float64(rstd) * (float64(dy[i])*float64(w[i]) - sum/n - float64(norm)*sumX/n))
		}
	}
}

// SiLUMul sets dst = g*sigmoid(g)*u.
func SiLUMul(dst, g, u []float32) { active.siluMul(dst, g[:len(dst)], u[:len(dst)]) }

// SiLUMulGrad adds the gradients of SiLUMul to dg and du.
func SiLUMulGrad(dg, du, g, u, dy []float32) {
	n := len(dg)
	active.siluMulGrad(dg, du[:n], g[:n], u[:n], dy[:n])
}

// Rope rotates the first rot dimensions of each head of one row x [heads][headDim] in place; pairs are (i, i+rot/2); cos and sin hold rot/2 values.
func Rope(x, cos, sin []float32, heads, headDim, rot int) {
	half := rot / 2
	for h := range heads {
		head := x[h*headDim:]
		active.rope(head[:half], head[half:rot], cos[:half], sin[:half])
	}
}

// RopeGrad is the inverse rotation.
func RopeGrad(x, cos, sin []float32, heads, headDim, rot int) {
	half := rot / 2
	for h := range heads {
		head := x[h*headDim:]
		active.rope(head[half:rot], head[:half], cos[:half], sin[:half]) // swapping the halves turns the other way
	}
}

// AdamCoef are the coefficients of one AdamW update. Scale multiplies the gradient (clipping); Bias1 and Bias2 are 1 - beta^t.
type AdamCoef struct{ LR, Beta1, Beta2, Eps, Decay, Scale, Bias1, Bias2 float32 }

// AdamW updates parameters p and moments m, v from the gradient g as PyTorch does (Loshchilov and Hutter 2019).
func AdamW(p, g, m, v []float32, c AdamCoef) {
	n := len(p)
	active.adamW(p, g[:n], m[:n], v[:n], &c)
}
