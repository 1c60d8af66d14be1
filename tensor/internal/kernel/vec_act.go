package kernel

import "math"

// SiLUMul sets dst = g*sigmoid(g)*u. dst may be g or u.
func SiLUMul(dst, g, u []float32) { active.siluMul(dst, g[:len(dst)], u[:len(dst)]) }

// SiLUMulGrad adds the gradients of SiLUMul to dg and du.
func SiLUMulGrad(dg, du, g, u, dy []float32) {
	n := len(dg)
	active.siluMulGrad(dg, du[:n], g[:n], u[:n], dy[:n])
}

// SiLU sets dst = x*sigmoid(x). dst may be x.
func SiLU(dst, x []float32) { active.silu(dst, x[:len(dst)]) }

// SiLUGrad adds the gradient of SiLU at x to dx.
func SiLUGrad(dx, x, dy []float32) { active.siluGrad(dx, x[:len(dx)], dy[:len(dx)]) }

// GELUTanh sets dst = x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) (Hendrycks and Gimpel 2016). dst may be x.
func GELUTanh(dst, x []float32) { active.gelu(dst, x[:len(dst)]) }

// GELUTanhGrad adds the gradient of GELUTanh at x to dx.
func GELUTanhGrad(dx, x, dy []float32) { active.geluGrad(dx, x[:len(dx)], dy[:len(dx)]) }

// Tanh sets dst = tanh(x). dst may be x.
func Tanh(dst, x []float32) { active.tanh(dst, x[:len(dst)]) }

// TanhGrad adds dy*(1-y^2) to dx, y = tanh(x).
func TanhGrad(dx, y, dy []float32) { active.tanhGrad(dx, y[:len(dx)], dy[:len(dx)]) }

// ReLU sets dst = max(x, 0); NaN stays. dst may be x.
func ReLU(dst, x []float32) { active.relu(dst, x[:len(dst)]) }

// ReLUGrad adds dy to dx where y > 0; y is ReLU's input or its output.
func ReLUGrad(dx, y, dy []float32) { active.reluGrad(dx, y[:len(dx)], dy[:len(dx)]) }

// GELUErf sets dst = x Phi(x), in float64 and plain Go on every CPU. dst may be x.
func GELUErf(dst, x []float32) {
	for i := range dst {
		v := float64(x[i])
		dst[i] = float32(v / 2 * math.Erfc(-v/math.Sqrt2))
	}
}

// GELUErfGrad adds the gradient of GELUErf at x to dx.
func GELUErfGrad(dx, x, dy []float32) {
	for i := range dx {
		v := float64(x[i])
		slope := float64(math.Erfc(-v/math.Sqrt2)/2) + float64(v*math.Exp(-v*v/2)/math.Sqrt(2*math.Pi))
		dx[i] += float32(float64(dy[i]) * slope)
	}
}
