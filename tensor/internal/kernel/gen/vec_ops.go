package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func pointwise(v simd) {
	vector(v, "add", "dst a b", "", "", func(o *op) {
		x := o.get("a")
		VADDPS(o.get("b"), x, x)
		o.put("dst", x)
	})
	vector(v, "mul", "dst a b", "", "", func(o *op) {
		x := o.get("a")
		VMULPS(o.get("b"), x, x)
		o.put("dst", x)
	})
	vector(v, "mulAddTo", "dst a b", "", "", func(o *op) {
		d := o.get("dst")
		VFMADD231PS(o.get("b"), o.get("a"), d)
		o.put("dst", d)
	})
	vector(v, "addTo", "dst a", "", "", func(o *op) {
		d := o.get("dst")
		VADDPS(o.get("a"), d, d)
		o.put("dst", d)
	})
	vector(v, "scale", "dst a", "s", "", func(o *op) {
		x := o.get("a")
		VMULPS(o.scalars["s"], x, x)
		o.put("dst", x)
	})
	vector(v, "div", "dst a", "s", "", func(o *op) {
		x := o.get("a")
		VDIVPS(o.scalars["s"], x, x)
		o.put("dst", x)
	})
	vector(v, "axpy", "dst a", "s", "", func(o *op) {
		d := o.get("dst")
		VFMADD231PS(o.scalars["s"], o.get("a"), d)
		o.put("dst", d)
	})
}

func reductions(v simd) {
	vector(v, "dot", "a b", "", "sum", func(o *op) { VFMADD231PS(o.get("b"), o.get("a"), o.sum("sum")) })
	vector(v, "sum", "a", "", "sum", func(o *op) { VADDPS(o.get("a"), o.sum("sum"), o.sum("sum")) })
	vector(v, "finite", "a", "", "sum", func(o *op) {
		z := o.reg()
		o.zero(z)
		VFMADD231PS(z, o.get("a"), o.sum("sum"))
	})
	o := begin(v, "max", "a", "", "top", "(top float32)")
	lowest := float32(math.Inf(-1))
	for _, r := range o.sums["top"] {
		VMOVUPS(constant(lowest), r)
	}
	o.each(Load(Param("a").Len(), GP64()).(reg.GPVirtual), func(o *op) {
		x := o.get("a")
		if o.mask != nil {
			x = o.choose(o.mask, x, o.splat(lowest))
		}
		VMAXPS(o.sum("top"), x, o.sum("top")) // of a NaN and a number the first operand here wins
	})
	Store(o.tree(o.sums["top"], largest), Return("top"))
	o.returns()
}

// sumSquares adds squares in 16 lanes of float64: two ZMM or four YMM accumulators.
func sumSquares(v simd) {
	o := begin(v, "sumSquares", "a", "", "", "(sum float64)")
	var acc []reg.VecVirtual
	for range 128 / v.bytes {
		r := v.reg()
		v.zero(r)
		acc = append(acc, r)
	}
	square := func(x Op, sum reg.VecVirtual) {
		d := v.reg()
		VCVTPS2PD(x, d)
		VFMADD231PD(d, d, sum)
	}
	o.each(Load(Param("a").Len(), GP64()).(reg.GPVirtual), func(o *op) {
		x := o.get("a")
		if v.wide() {
			hi := YMM()
			square(x.AsY(), acc[0])
			VEXTRACTF64X4(Imm(1), x, hi)
			square(hi, acc[1])
			return
		}
		hi := XMM()
		square(x.AsX(), acc[2*o.half])
		VEXTRACTF128(Imm(1), x, hi)
		square(hi, acc[2*o.half+1])
	})
	y := YMM()
	if v.wide() {
		VADDPD(acc[1], acc[0], acc[0])
		VEXTRACTF64X4(Imm(1), acc[0], y)
		VADDPD(y, acc[0].AsY(), y)
	} else {
		VADDPD(acc[2], acc[0], acc[0])
		VADDPD(acc[3], acc[1], acc[1])
		VADDPD(acc[1], acc[0], y)
	}
	x, t := XMM(), XMM()
	VEXTRACTF128(Imm(1), y, t)
	VADDPD(t, y.AsX(), x)
	VUNPCKHPD(x, x, t)
	VADDSD(t, x, x)
	Store(x, Return("sum"))
	o.returns()
}

// centred returns x - mean.
func centred(o *op) reg.VecVirtual {
	d := o.get("x")
	VSUBPS(o.scalars["mean"], d, d)
	return d
}

func norms(v simd) {
	vector(v, "normSquares", "x", "mean", "sum", func(o *op) {
		d := centred(o)
		o.keep(d, o.mask)
		VFMADD231PS(d, d, o.sum("sum"))
	})
	vector(v, "normApply", "dst x w", "mean rstd", "", func(o *op) {
		d := centred(o)
		VMULPS(o.scalars["rstd"], d, d)
		VMULPS(o.get("w"), d, d)
		o.put("dst", d)
	})
	vector(v, "normDot", "w dy x", "mean", "sum", func(o *op) {
		d, w := centred(o), o.get("w")
		VMULPS(o.get("dy"), w, w)
		o.keep(d, o.mask)
		VFMADD231PS(d, w, o.sum("sum"))
	})
	vector(v, "normGradX", "dx x w dy", "mean rstd c1 c2", "", func(o *op) {
		d, t, dx := centred(o), o.get("w"), o.get("dx")
		VFMSUB213PS(o.scalars["c1"], o.get("dy"), t)
		VFNMADD231PS(o.scalars["c2"], d, t)
		VFMADD231PS(o.scalars["rstd"], t, dx)
		o.put("dx", dx)
	})
	vector(v, "normGradW", "dw x dy", "mean rstd", "", func(o *op) {
		d, dw := centred(o), o.get("dw")
		VMULPS(o.scalars["rstd"], d, d)
		VFMADD231PS(o.get("dy"), d, dw)
		o.put("dw", dw)
	})
}

func adamW(v simd) {
	vector(v, "adamW", "p g m v", "keep scale b1 b2 c2 root eps step", "", func(o *op) {
		s := o.scalars
		g, m := o.get("g"), o.get("m")
		VMULPS(s["scale"], g, g)
		t := o.reg()
		VSUBPS(m, g, t)
		VFMADD231PS(s["b1"], t, m)
		o.put("m", m)
		square := o.get("v")
		VMULPS(s["b2"], square, square)
		VMULPS(s["c2"], g, t)
		VFMADD231PS(g, t, square)
		o.put("v", square)
		VSQRTPS(square, square)
		VDIVPS(s["root"], square, square)
		VADDPS(s["eps"], square, square)
		VDIVPS(square, m, m)
		p := o.get("p")
		VMULPS(s["keep"], p, p)
		VFNMADD231PS(s["step"], m, p)
		o.put("p", p)
	})
}

// rope: func(x, cos, sin []float32, heads, headDim int, sign float32); the pairs of a head are (i, i+len(cos)).
func rope(v simd) {
	TEXT("rope"+v.name, NOSPLIT, "func(x, cos, sin []float32, heads, headDim int, sign float32)")
	Pragma("noescape")
	o := &op{simd: v, slices: []string{"x", "cos", "sin"}, ptr: map[string]reg.Register{}, scalars: map[string]reg.VecVirtual{}}
	o.arguments("sign")
	heads, step := Load(Param("heads"), GP64()), Load(Param("headDim"), GP64())
	SHLQ(Imm(2), step)
	half := Load(Param("cos").Len(), GP64())
	upper, n := GP64(), GP64()
	LEAQ(Mem{Base: o.ptr["x"], Index: half, Scale: 4}, upper)
	o.ptr["upper"] = upper
	TESTQ(heads, heads)
	JZ(LabelRef("end"))
	Label("head")
	MOVQ(half, n)
	o.each(n.(reg.GPVirtual), func(o *op) {
		a, b, c, s := o.get("x"), o.get("upper"), o.get("cos"), o.get("sin")
		VMULPS(o.scalars["sign"], s, s)
		y1, y2 := o.reg(), o.reg()
		VMULPS(c, a, y1)
		VFNMADD231PS(s, b, y1)
		VMULPS(c, b, y2)
		VFMADD231PS(s, a, y2)
		o.put("x", y1)
		o.put("upper", y2)
	})
	ADDQ(step, o.ptr["x"])
	ADDQ(step, upper)
	DECQ(heads)
	JNZ(LabelRef("head"))
	Label("end")
	o.returns()
}
