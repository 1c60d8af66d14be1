package kernel

import "math"

// Constants of exp: e^x = 2^n p(r) with n = round(x log2 e), r = x - n ln2, |r| <= ln2/2, and p the polynomial of degree 6 with the smallest
// relative error there (3e-9) whose first two coefficients are 1. Adding n to the exponent bits of p multiplies by 2^n. gen/vec_exp.go has the
// same constants.
const (
	expLow   = -87.3365  // below it exp is 0: e^x is no longer a normal number
	expHigh  = 88.722832 // above it exp is +Inf
	log2e    = 1.44269504088896341
	ln2High  = 0.693359375 // 9 bits: n*ln2High is exact
	ln2Low   = -2.12194440e-4
	expMagic = 12582912 // 1.5 * 2^23: adding it rounds to an integer, which then stands in the lowest bits
	expC2    = 0.4999999403953552
	expC3    = 0.1666652113199234
	expC4    = 0.041668254882097244
	expC5    = 0.008368676528334618
	expC6    = 0.001382174319587648
	overflow = 1e38 // times a number above expHigh is +Inf; NaN stays NaN
)

func exp(x float32) float32 {
	t := float32(x*log2e) + expMagic
	n := t - expMagic
	r := x - float32(n*ln2High)
	r -= float32(n * ln2Low)
	p := float32(expC6*r) + expC5
	p = float32(p*r) + expC4
	p = float32(p*r) + expC3
	p = float32(p*r) + expC2
	p = float32(p*r) + 1
	p = float32(p*r) + 1
	if !(x <= expHigh) {
		return x * overflow
	}
	if x < expLow {
		return 0
	}
	return math.Float32frombits(math.Float32bits(p) + math.Float32bits(t)<<23)
}

func sigmoid(x float32) float32 { return 1 / (1 + exp(-x)) }

// Constants of GELU's tanh form as x*sigmoid(geluLin*x + geluCube*x^3): (1 + tanh z)/2 = sigmoid(2z).
const (
	geluLin  = 2 * 0.7978845608028654 // 2 sqrt(2/pi)
	geluCube = geluLin * 0.044715
)

func geluArg(x float32) float32 { return x * (float32(geluCube*float32(x*x)) + geluLin) }

// Constants of tanh: below tanhSmall an odd polynomial (Cephes tanhf), above it 1 - 2/(e^2x + 1).
const (
	tanhSmall = 0.625
	tanhC0    = -3.33332819422e-1
	tanhC1    = 1.33314422036e-1
	tanhC2    = -5.37397155531e-2
	tanhC3    = 2.06390887954e-2
	tanhC4    = -5.70498872745e-3
)

func tanh(x float32) float32 {
	a := float32(math.Abs(float64(x)))
	if a < tanhSmall {
		z := x * x
		p := float32(tanhC4*z) + tanhC3
		p = float32(p*z) + tanhC2
		p = float32(p*z) + tanhC1
		p = float32(p*z) + tanhC0
		return float32(float32(p*z)*x) + x
	}
	return float32(math.Copysign(float64(1-2/(exp(a+a)+1)), float64(x)))
}
