package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Constants of exp, sigmoid and tanh: see ../vec_exp.go.
const (
	expLow   = -87.3365
	expHigh  = 88.722832
	log2e    = 1.44269504088896341
	ln2High  = 0.693359375
	ln2Low   = -2.12194440e-4
	expMagic = 12582912
	overflow = 1e38

	geluLin  = 2 * 0.7978845608028654
	geluCube = geluLin * 0.044715

	tanhSmall = 0.625
)

var (
	expPoly  = []float32{0.001382174319587648, 0.008368676528334618, 0.041668254882097244, 0.1666652113199234, 0.4999999403953552, 1, 1}
	tanhPoly = []float32{-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1}
)

// Predicates of VCMPPS that hold for NaN.
const (
	notLess      = 0x15
	notLessEqual = 0x16
)

// horner returns the polynomial with the given coefficients, highest power first, at x.
func (v simd) horner(poly []float32, x reg.VecVirtual) reg.VecVirtual {
	p := v.splat(poly[0])
	for _, c := range poly[1:] {
		VFMADD213PS(constant(c), x, p)
	}
	return p
}

// exp returns e^x and leaves x.
func (v simd) exp(x reg.VecVirtual) reg.VecVirtual {
	t := v.splat(expMagic)
	VFMADD231PS(constant(log2e), x, t)
	n, r := v.reg(), v.reg()
	VSUBPS(constant(expMagic), t, n)
	VMOVAPS(x, r)
	VFNMADD231PS(constant(ln2High), n, r)
	VFNMADD231PS(constant(ln2Low), n, r)
	p := v.horner(expPoly, r)
	VPSLLD(Imm(23), t, t)
	VPADDD(t, p, p)
	if v.wide() {
		high, low := K(), K()
		VCMPPS(Imm(notLessEqual), constant(expHigh), x, high)
		VMULPS(constant(overflow), x, high, p)
		VCMPPS(Imm(notLess), constant(expLow), x, low)
		VMOVAPS_Z(p, low, p)
		return p
	}
	VCMPPS(Imm(notLessEqual), constant(expHigh), x, n)
	VMULPS(constant(overflow), x, r)
	VBLENDVPS(n, r, p, p)
	VCMPPS(Imm(notLess), constant(expLow), x, n)
	VANDPS(n, p, p)
	return p
}

// sigmoid returns 1/(1 + e^-x) and leaves x.
func (v simd) sigmoid(x reg.VecVirtual) reg.VecVirtual {
	s := v.reg()
	v.bits(VXORPS, VPXORD, constant(float32(math.Copysign(0, -1))), x, s)
	e := v.exp(s)
	VADDPS(constant(1), e, e)
	VMOVUPS(constant(1), s)
	VDIVPS(e, s, s)
	return s
}

// bits runs a bitwise operation by its AVX or its AVX-512F name.
func (v simd) bits(avx, evex func(ops ...Op), a, b, dst Op) {
	if v.wide() {
		evex(a, b, dst)
	} else {
		avx(a, b, dst)
	}
}

// shifted returns fma(slice, scale, -shift).
func shifted(o *op, slice, shift string) reg.VecVirtual {
	x := o.get(slice)
	VFMSUB213PS(o.scalars[shift], o.scalars["scale"], x)
	return x
}

// floor returns max(t, expLow), NaN for NaN: where e^t is 0 the product with t must not be 0 times infinity.
func floor(o *op, t reg.VecVirtual) reg.VecVirtual {
	low := o.splat(expLow)
	VMAXPS(t, low, low)
	return low
}

func exponentials(v simd) {
	vector(v, "expSum", "dst x", "scale shift", "sum", func(o *op) {
		e := o.exp(shifted(o, "x", "shift"))
		o.put("dst", e)
		o.keep(e, o.mask)
		VADDPS(e, o.sum("sum"), o.sum("sum"))
	})
	vector(v, "expStats", "x", "scale shift", "sumExp sumExpT", func(o *op) {
		t := shifted(o, "x", "shift")
		e := o.exp(t)
		t = floor(o, t)
		o.keep(e, o.mask)
		o.keep(t, o.mask)
		VADDPS(e, o.sum("sumExp"), o.sum("sumExp"))
		VFMADD231PS(t, e, o.sum("sumExpT"))
	})
	vector(v, "headGrad", "dst z", "scale lse a b", "", func(o *op) {
		t := shifted(o, "z", "lse")
		e := o.exp(t)
		t = floor(o, t)
		VFMADD213PS(o.scalars["a"], o.scalars["b"], t)
		VMULPS(t, e, e)
		o.put("dst", e)
	})
}

// sigmoidSlope returns s + y*(1-s), y = x*s (times slope, when given): the derivative of x*sigmoid. It overwrites y.
func sigmoidSlope(o *op, s, y, slope reg.VecVirtual) reg.VecVirtual {
	rest := o.splat(1)
	VSUBPS(s, rest, rest)
	if slope != nil {
		VMULPS(rest, y, y)
		rest = slope
	}
	VFMADD213PS(s, y, rest)
	return rest
}

// gateArg returns GELU's argument of the sigmoid, x*(geluLin + geluCube*x^2).
func gateArg(o *op, x reg.VecVirtual) reg.VecVirtual {
	z, c := o.reg(), o.splat(geluLin)
	VMULPS(x, x, z)
	VFMADD231PS(constant(geluCube), z, c)
	VMULPS(x, c, c)
	return c
}

func addTo(o *op, dst string, a, b reg.VecVirtual) {
	d := o.get(dst)
	VFMADD231PS(a, b, d)
	o.put(dst, d)
}

func activations(v simd) {
	vector(v, "siluMul", "dst g u", "", "", func(o *op) {
		g := o.get("g")
		VMULPS(o.sigmoid(g), g, g)
		VMULPS(o.get("u"), g, g)
		o.put("dst", g)
	})
	vector(v, "siluMulGrad", "dg du g u dy", "", "", func(o *op) {
		g := o.get("g")
		s := o.sigmoid(g)
		VMULPS(s, g, g)
		dy := o.get("dy")
		addTo(o, "du", dy, g)
		VMULPS(o.get("u"), dy, dy)
		addTo(o, "dg", dy, sigmoidSlope(o, s, g, nil))
	})
	vector(v, "silu", "dst x", "", "", func(o *op) {
		x := o.get("x")
		VMULPS(o.sigmoid(x), x, x)
		o.put("dst", x)
	})
	vector(v, "siluGrad", "dx x dy", "", "", func(o *op) {
		x := o.get("x")
		s := o.sigmoid(x)
		VMULPS(s, x, x)
		addTo(o, "dx", o.get("dy"), sigmoidSlope(o, s, x, nil))
	})
	vector(v, "gelu", "dst x", "", "", func(o *op) {
		x := o.get("x")
		VMULPS(o.sigmoid(gateArg(o, x)), x, x)
		o.put("dst", x)
	})
	vector(v, "geluGrad", "dx x dy", "", "", func(o *op) {
		x := o.get("x")
		s := o.sigmoid(gateArg(o, x))
		z, slope := o.reg(), o.splat(geluLin)
		VMULPS(x, x, z)
		VFMADD231PS(constant(3*geluCube), z, slope)
		VMULPS(s, x, x)
		addTo(o, "dx", o.get("dy"), sigmoidSlope(o, s, x, slope))
	})
}

// others are the activations without a sigmoid.
func others(v simd) {
	vector(v, "tanh", "dst x", "", "", func(o *op) { o.put("dst", o.tanh(o.get("x"))) })
	vector(v, "tanhGrad", "dx y dy", "", "", func(o *op) {
		y, slope := o.get("y"), o.splat(1)
		VFNMADD231PS(y, y, slope)
		addTo(o, "dx", o.get("dy"), slope)
	})
	vector(v, "relu", "dst x", "", "", func(o *op) {
		x, z := o.get("x"), o.reg()
		o.zero(z)
		VMAXPS(x, z, x) // x where it is NaN
		o.put("dst", x)
	})
	vector(v, "reluGrad", "dx y dy", "", "", func(o *op) {
		y, dy, dx, z := o.get("y"), o.get("dy"), o.get("dx"), o.reg()
		o.zero(z)
		const greater = 0x1e
		if o.wide() {
			k := K()
			VCMPPS(Imm(greater), z, y, k)
			VADDPS(dy, dx, k, dx)
		} else {
			VCMPPS(Imm(greater), z, y, z)
			VADDPS(dx, dy, dy)
			VBLENDVPS(z, dy, dx, dx)
		}
		o.put("dx", dx)
	})
}

// tanh returns tanh(x): below tanhSmall a polynomial, above it 1 - 2/(e^2|x| + 1) with the sign of x.
func (o *op) tanh(x reg.VecVirtual) reg.VecVirtual {
	const signBit = 1 << 31
	sign, a := o.reg(), o.reg()
	o.bits(VANDPS, VPANDD, constant(math.Float32frombits(signBit)), x, sign)
	o.bits(VANDPS, VPANDD, constant(math.Float32frombits(signBit-1)), x, a)
	twice := o.reg()
	VADDPS(a, a, twice)
	e := o.exp(twice)
	VADDPS(constant(1), e, e)
	big := o.splat(2)
	VDIVPS(e, big, big)
	VSUBPS(big, o.splat(1), big)
	o.bits(VORPS, VPORD, sign, big, big)
	z := o.reg()
	VMULPS(x, x, z)
	p := o.horner(tanhPoly, z)
	VMULPS(z, p, p)
	VFMADD213PS(x, x, p)
	const less = 0x11
	if o.wide() {
		k := K()
		VCMPPS(Imm(less), constant(tanhSmall), a, k)
		VMOVAPS(p, k, big)
	} else {
		VCMPPS(Imm(less), constant(tanhSmall), a, a)
		VBLENDVPS(a, p, big, big)
	}
	return big
}
