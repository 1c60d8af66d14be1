package kernel

import "math"

// What follows serves GPT-2 and small networks and is plain Go on every CPU: float64 inside, so accuracy is not in question.

// Tanh sets dst = tanh(x).
func Tanh(dst, x []float32) {
	for i := range dst {
		dst[i] = float32(math.Tanh(float64(x[i])))
	}
}

// TanhGrad adds dy*(1-y^2) to dx.
func TanhGrad(dx, y, dy []float32) {
	for i := range dx {
		dx[i] += float32(dy[i] * (1 - float32(y[i]*y[i])))
	}
}

// ReLU sets dst = max(x, 0).
func ReLU(dst, x []float32) {
	for i := range dst {
		dst[i] = max(x[i], 0)
	}
}

// ReLUGrad adds dy where x > 0.
func ReLUGrad(dx, x, dy []float32) {
	for i := range dx {
		if x[i] > 0 {
			dx[i] += dy[i]
		}
	}
}

// SiLU sets dst = x*sigmoid(x).
func SiLU(dst, x []float32) {
	for i := range dst {
		dst[i] = float32(x[i] / (1 + exp(-x[i])))
	}
}

// SiLUGrad adds the gradient of SiLU.
func SiLUGrad(dx, x, dy []float32) {
	for i := range dx {
		s := 1 / (1 + exp(-x[i]))
		dx[i] += float32(dy[i] * float32(s*(1+float32(x[i]*(1-s)))))
	}
}

const geluC = 0.7978845608028654 // sqrt(2/pi)

// GELUTanh sets dst = x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) (Hendrycks and Gimpel 2016).
func GELUTanh(dst, x []float32) {
	for i := range dst {
		v := float64(x[i])
		dst[i] = float32(v / 2 * (1 + math.Tanh(geluC*(v+0.044715*v*v*v))))
	}
}

// GELUTanhGrad adds the gradient of GELUTanh.
func GELUTanhGrad(dx, x, dy []float32) {
	for i := range dx {
		v := float64(x[i])
		t := math.Tanh(geluC * (v + 0.044715*v*v*v))
		dx[i] += float32(float64(dy[i]) * (0.5*(1+t) + 0.5*v*(1-t*t)*geluC*(1+3*0.044715*v*v)))
	}
}

// GELUErf sets dst = x Phi(x).
func GELUErf(dst, x []float32) {
	for i := range dst {
		v := float64(x[i])
		dst[i] = float32(v / 2 * (1 + math.Erf(v/math.Sqrt2)))
	}
}

// GELUErfGrad adds the gradient of GELUErf.
func GELUErfGrad(dx, x, dy []float32) {
	for i := range dx {
		v := float64(x[i])
		dx[i] += float32(float64(dy[i]) * (0.5*(1+math.Erf(v/math.Sqrt2)) + v*math.Exp(-v*v/2)/math.Sqrt(2*math.Pi)))
	}
}
