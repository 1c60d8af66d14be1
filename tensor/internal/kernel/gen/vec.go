package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// vec writes the vector operations. Each is described once, for 16 virtual lanes: one ZMM register, or two YMM registers one after the other,
// with the same operations in the same order, so that both give the same bytes.
func vec() {
	iota16 = GLOBL("iota16", RODATA|NOPTR)
	for i := range 16 {
		DATA(i*4, U32(i))
	}
	for _, v := range []isa{avx512, avx2} {
		pointwise(v)
		reductions(v)
		exponentials(v)
		norms(v)
		adamW(v)
		sumSquares(v)
	}
}

var (
	iota16 Mem
	consts = map[float32]Mem{}
)

// constant returns a float replicated over 16 lanes in read-only memory.
func constant(x float32) Mem {
	if m, ok := consts[x]; ok {
		return m
	}
	m := GLOBL(fmt.Sprintf("c%08x", math.Float32bits(x)), RODATA|NOPTR)
	for i := range 16 {
		DATA(4*i, U32(math.Float32bits(x)))
	}
	consts[x] = m
	return m
}

// op is one operation while it is being written, at one half (0, or 0 and 1 on AVX2) of 16 lanes.
type op struct {
	v       isa
	ptr     map[string]reg.Register
	scalars map[string]reg.VecVirtual
	off     reg.Register
	half    int
	masked  bool
	mask    reg.Register
	acc     map[string][]reg.VecVirtual
}

func (o *op) at(name string) Mem {
	return Mem{Base: o.ptr[name], Index: o.off, Scale: 1, Disp: o.half * 32}
}

func (o *op) load(name string) reg.VecVirtual {
	r := o.v.reg()
	o.v.load(o.at(name), r, o.masked, o.mask)
	return r
}

func (o *op) store(name string, r reg.VecVirtual) { o.v.store(r, o.at(name), o.masked, o.mask) }

// zero clears lanes that do not exist.
func (o *op) zero(r reg.VecVirtual) {
	switch {
	case !o.masked:
	case o.v.bytes == 64:
		VMOVAPS_Z(r, o.mask, r)
	default:
		VANDPS(o.mask, r, r)
	}
}

func (o *op) sum(name string) reg.VecVirtual { return o.acc[name][o.half] }

func (o *op) new() reg.VecVirtual { return o.v.reg() }

// vector writes func NAME(slices..., scalars...) (result): loop over 16 lanes, masked tail, then finish.
func vector(v isa, name string, slices, scalars, accs []string, result string, body func(o *op), finish func(o *op)) {
	sig := "func("
	for _, s := range slices {
		sig += s + " []float32, "
	}
	for _, s := range scalars {
		sig += s + " float32, "
	}
	TEXT(name+v.name, NOSPLIT, sig+") "+result)
	Pragma("noescape")
	o := &op{v: v, ptr: map[string]reg.Register{}, scalars: map[string]reg.VecVirtual{}, acc: map[string][]reg.VecVirtual{}}
	for _, s := range slices {
		o.ptr[s] = Load(Param(s).Base(), GP64())
	}
	n := Load(Param(slices[0]).Len(), GP64())
	for _, s := range scalars {
		x := Load(Param(s), XMM())
		r := v.reg()
		VBROADCASTSS(x, r)
		o.scalars[s] = r
	}
	halves := 64 / v.bytes
	for _, a := range accs {
		for range halves {
			r := v.reg()
			v.zero(r)
			o.acc[a] = append(o.acc[a], r)
		}
	}
	for _, r := range o.acc["max"] {
		VBROADCASTSS(Mem{Base: o.ptr[slices[0]]}, r)
	}
	off := GP64()
	XORQ(off, off)
	o.off = off
	Label("loop")
	CMPQ(n, Imm(16))
	JL(LabelRef("tail"))
	for o.half = range halves {
		body(o)
	}
	ADDQ(Imm(64), off)
	SUBQ(Imm(16), n)
	JMP(LabelRef("loop"))
	Label("tail")
	TESTQ(n, n)
	JZ(LabelRef("done"))
	o.masked = true
	if v.bytes == 64 {
		bits, k := GP32(), K()
		MOVL(U32(0xffff), bits)
		shift := GP64()
		MOVQ(U32(16), shift)
		SUBQ(n, shift)
		SHRXL(shift.As32(), bits, bits)
		KMOVW(bits, k)
		o.mask = k
		o.half = 0
		body(o)
	} else {
		x, y := XMM(), YMM()
		VMOVD(n.(reg.GPVirtual).As32(), x)
		VPBROADCASTD(x, y)
		for o.half = range halves {
			m := YMM()
			VPCMPGTD(iota16.Offset(32*o.half), y, m)
			o.mask = m
			body(o)
		}
	}
	Label("done")
	if finish != nil {
		finish(o)
	}
	VZEROUPPER()
	RET()
}

// tree adds (or, for max, compares) 16 lanes: 8 with 8, 4 with 4, 2 with 2, 1 with 1.
func (o *op) tree(name, into string) {
	packed, single := VADDPS, VADDSS
	if name == "max" {
		packed, single = VMAXPS, VMAXSS
	}
	a := o.acc[name]
	var y reg.VecVirtual
	if o.v.bytes == 64 {
		hi := YMM()
		VEXTRACTF64X4(Imm(1), a[0], hi)
		y = YMM()
		packed(hi, a[0].(reg.VecVirtual).AsY(), y)
	} else {
		y = YMM()
		packed(a[1], a[0], y)
	}
	x, t := XMM(), XMM()
	VEXTRACTF128(Imm(1), y, t)
	packed(t, y.AsX(), x)
	VMOVHLPS(x, x, t)
	packed(t, x, x)
	VMOVSHDUP(x, t)
	single(t, x, x)
	Store(x, Return(into))
}

func pointwise(v isa) {
	vector(v, "add", []string{"dst", "a", "b"}, nil, nil, "", func(o *op) {
		x, y := o.load("a"), o.load("b")
		VADDPS(y, x, x)
		o.store("dst", x)
	}, nil)
	vector(v, "mul", []string{"dst", "a", "b"}, nil, nil, "", func(o *op) {
		x, y := o.load("a"), o.load("b")
		VMULPS(y, x, x)
		o.store("dst", x)
	}, nil)
	vector(v, "mulAddTo", []string{"dst", "a", "b"}, nil, nil, "", func(o *op) {
		x, y, d := o.load("a"), o.load("b"), o.load("dst")
		VFMADD231PS(y, x, d)
		o.store("dst", d)
	}, nil)
	vector(v, "addTo", []string{"dst", "a"}, nil, nil, "", func(o *op) {
		x, d := o.load("a"), o.load("dst")
		VADDPS(x, d, d)
		o.store("dst", d)
	}, nil)
	vector(v, "scale", []string{"dst", "a"}, []string{"s"}, nil, "", func(o *op) {
		x := o.load("a")
		VMULPS(o.scalars["s"], x, x)
		o.store("dst", x)
	}, nil)
	vector(v, "axpy", []string{"dst", "a"}, []string{"s"}, nil, "", func(o *op) {
		x, d := o.load("a"), o.load("dst")
		VFMADD231PS(o.scalars["s"], x, d)
		o.store("dst", d)
	}, nil)
	vector(v, "div", []string{"dst", "a"}, []string{"s"}, nil, "", func(o *op) {
		x := o.load("a")
		VDIVPS(o.scalars["s"], x, x)
		o.store("dst", x)
	}, nil)
	vector(v, "rope", []string{"x1", "x2", "cos", "sin"}, nil, nil, "", func(o *op) {
		a, b, c, s := o.load("x1"), o.load("x2"), o.load("cos"), o.load("sin")
		y1, y2 := o.new(), o.new()
		VMULPS(s, b, y1)
		VFMSUB231PS(c, a, y1) // a*c - b*s
		VMULPS(s, a, y2)
		VFMADD231PS(c, b, y2)
		o.store("x1", y1)
		o.store("x2", y2)
	}, nil)
}

func reductions(v isa) {
	sum := func(o *op) { o.tree("sum", "ret") }
	vector(v, "dot", []string{"a", "b"}, nil, []string{"sum"}, "(ret float32)", func(o *op) {
		x, y := o.load("a"), o.load("b")
		VFMADD231PS(y, x, o.sum("sum"))
	}, sum)
	vector(v, "sum", []string{"a"}, nil, []string{"sum"}, "(ret float32)", func(o *op) {
		x := o.load("a")
		VADDPS(x, o.sum("sum"), o.sum("sum"))
	}, sum)
	vector(v, "finite", []string{"a"}, nil, []string{"sum"}, "(ret float32)", func(o *op) {
		x, z := o.load("a"), o.new()
		o.v.zero(z)
		VFMADD231PS(z, x, o.sum("sum"))
	}, sum)
}

// exp replaces x by e^x: clamp (NaN stays), split off 2^n, polynomial, scale by the exponent. x keeps its clamped value in the result clamped.
func (o *op) exp(x reg.VecVirtual) (clamped, y reg.VecVirtual) {
	c := o.new()
	VMOVUPS(constant(-88), c)
	VMAXPS(x, c, c) // the second source in Intel's order wins when one is NaN
	lim := o.new()
	VMOVUPS(constant(88.8), lim)
	VMINPS(c, lim, c)
	n, r, p := o.new(), o.new(), o.new()
	VMOVUPS(constant(12582912), n)
	VFMADD231PS(constant(1.44269504088896341), c, n)
	VSUBPS(constant(12582912), n, n)
	VMOVAPS(c, r)
	VFNMADD231PS(constant(0.693359375), n, r)
	VFNMADD231PS(constant(-2.12194440e-4), n, r)
	VMOVUPS(constant(1.9875691500e-4), p)
	for _, k := range []float32{1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1} {
		VFMADD213PS(constant(k), r, p)
	}
	r2 := lim
	VMULPS(r, r, r2)
	VFMADD213PS(r, r2, p)
	VADDPS(constant(1), p, p)
	VADDPS(constant(127), n, n)
	VCVTPS2DQ(n, n)
	VPSLLD(Imm(23), n, n)
	VMULPS(n, p, p)
	return c, p
}

func exponentials(v isa) {
	// t = fma(x, scale, -shift)
	shifted := func(o *op, slice, scale, shift string) reg.VecVirtual {
		x := o.load(slice)
		VFMSUB213PS(o.scalars[shift], o.scalars[scale], x)
		return x
	}
	vector(v, "expSum", []string{"dst", "x"}, []string{"scale", "shift"}, []string{"sum"}, "(ret float32)", func(o *op) {
		_, e := o.exp(shifted(o, "x", "scale", "shift"))
		o.store("dst", e)
		o.zero(e)
		VADDPS(e, o.sum("sum"), o.sum("sum"))
	}, func(o *op) { o.tree("sum", "ret") })
	vector(v, "expStats", []string{"x"}, []string{"scale", "shift"}, []string{"sum", "sumT"}, "(sumExp, sumExpT float32)", func(o *op) {
		t, e := o.exp(shifted(o, "x", "scale", "shift"))
		o.zero(e)
		VADDPS(e, o.sum("sum"), o.sum("sum"))
		VFMADD231PS(t, e, o.sum("sumT"))
	}, func(o *op) {
		o.tree("sum", "sumExp")
		o.tree("sumT", "sumExpT")
	})
	vector(v, "headGrad", []string{"dst", "z"}, []string{"scale", "lse", "a", "b"}, nil, "", func(o *op) {
		t, e := o.exp(shifted(o, "z", "scale", "lse"))
		VFMADD213PS(o.scalars["a"], o.scalars["b"], t)
		VMULPS(t, e, e)
		o.store("dst", e)
	}, nil)
	vector(v, "attnGrad", []string{"p", "dp"}, []string{"scale", "lse", "d"}, nil, "", func(o *op) {
		_, e := o.exp(shifted(o, "p", "scale", "lse"))
		g := o.load("dp")
		VSUBPS(o.scalars["d"], g, g)
		VMULPS(e, g, g)
		VMULPS(o.scalars["scale"], g, g)
		o.store("p", e)
		o.store("dp", g)
	}, nil)
	negated := func(o *op, g reg.VecVirtual) reg.VecVirtual {
		x := o.new()
		negate(o, g, x)
		_, e := o.exp(x)
		VADDPS(constant(1), e, e)
		return e // 1 + e^-g
	}
	vector(v, "siluMul", []string{"dst", "g", "u"}, nil, nil, "", func(o *op) {
		g := o.load("g")
		d, s := negated(o, g), o.new()
		VMOVUPS(constant(1), s)
		VDIVPS(d, s, s)
		VMULPS(s, g, g)
		VMULPS(o.load("u"), g, g)
		o.store("dst", g)
	}, nil)
	vector(v, "siluMulGrad", []string{"dg", "du", "g", "u", "dy"}, nil, nil, "", func(o *op) {
		g := o.load("g")
		d := negated(o, g)
		s := o.new()
		VMOVUPS(constant(1), s)
		VDIVPS(d, s, s)
		VMULPS(s, g, g) // g*s
		dy, du := o.load("dy"), o.load("du")
		VFMADD231PS(g, dy, du)
		o.store("du", du)
		VMULPS(o.load("u"), dy, dy)
		rest := o.new()
		VMOVUPS(constant(1), rest)
		VSUBPS(s, rest, rest)
		VFMADD213PS(s, g, rest) // gs*(1-s) + s
		dg := o.load("dg")
		VFMADD231PS(rest, dy, dg)
		o.store("dg", dg)
	}, nil)
}

// negate sets dst = -x by flipping the sign.
func negate(o *op, x, dst reg.VecVirtual) {
	negZero := constant(float32(math.Copysign(0, -1)))
	if o.v.bytes == 64 {
		VPXORD(negZero, x, dst)
	} else {
		VXORPS(negZero, x, dst)
	}
}

// norms: with d = x - mean.
func norms(v isa) {
	centred := func(o *op) reg.VecVirtual {
		x := o.load("x")
		VSUBPS(o.scalars["mean"], x, x)
		return x
	}
	vector(v, "normSquares", []string{"x"}, []string{"mean"}, []string{"sum"}, "(ret float32)", func(o *op) {
		d := centred(o)
		o.zero(d)
		VFMADD231PS(d, d, o.sum("sum"))
	}, func(o *op) { o.tree("sum", "ret") })
	vector(v, "normApply", []string{"dst", "x", "w"}, []string{"mean", "rstd"}, nil, "", func(o *op) {
		d := centred(o)
		VMULPS(o.scalars["rstd"], d, d)
		VMULPS(o.load("w"), d, d)
		o.store("dst", d)
	}, nil)
	vector(v, "normDot", []string{"w", "dy", "x"}, []string{"mean"}, []string{"sum"}, "(ret float32)", func(o *op) {
		d, g := centred(o), o.load("dy")
		VMULPS(o.load("w"), g, g)
		VFMADD231PS(d, g, o.sum("sum"))
	}, func(o *op) { o.tree("sum", "ret") })
	vector(v, "normGradX", []string{"dx", "x", "w", "dy"}, []string{"mean", "rstd", "c1", "c2"}, nil, "", func(o *op) {
		d, t := centred(o), o.load("dy")
		VFMSUB213PS(o.scalars["c1"], o.load("w"), t) // w*dy - c1
		VFNMADD231PS(o.scalars["c2"], d, t)
		dx := o.load("dx")
		VFMADD231PS(o.scalars["rstd"], t, dx)
		o.store("dx", dx)
	}, nil)
	vector(v, "normGradW", []string{"dw", "x", "dy"}, []string{"mean", "rstd"}, nil, "", func(o *op) {
		d, dw := centred(o), o.load("dw")
		VMULPS(o.scalars["rstd"], d, d)
		VFMADD231PS(o.load("dy"), d, dw)
		o.store("dw", dw)
	}, nil)
	vector(v, "max", []string{"a"}, nil, []string{"max"}, "(ret float32)", func(o *op) {
		x := o.load("a")
		if o.masked { // missing lanes: an element that is certainly there
			first := o.new()
			VBROADCASTSS(Mem{Base: o.ptr["a"]}, first)
			if o.v.bytes == 64 {
				VMOVAPS(x, o.mask, first)
				x = first
			} else {
				VBLENDVPS(o.mask, x, first, x)
			}
		}
		VMAXPS(x, o.sum("max"), o.sum("max"))
	}, func(o *op) { o.tree("max", "ret") })
}

// adamW: keep = 1 - lr*decay, b1 = 1 - beta1, b2 = beta2, c2 = 1 - beta2, root = sqrt(bias2), step = lr/bias1.
func adamW(v isa) {
	vector(v, "adamW", []string{"p", "g", "m", "v"}, []string{"keep", "scale", "b1", "b2", "c2", "root", "eps", "step"}, nil, "", func(o *op) {
		x := o.load("g")
		VMULPS(o.scalars["scale"], x, x)
		m, t := o.load("m"), o.new()
		VSUBPS(m, x, t)
		VFMADD231PS(o.scalars["b1"], t, m)
		o.store("m", m)
		VMULPS(o.scalars["c2"], x, t)
		s := o.load("v")
		VMULPS(o.scalars["b2"], s, s)
		VFMADD231PS(t, x, s)
		o.store("v", s)
		VSQRTPS(s, s)
		VDIVPS(o.scalars["root"], s, s)
		VADDPS(o.scalars["eps"], s, s)
		VDIVPS(s, m, m)
		p := o.load("p")
		VMULPS(o.scalars["keep"], p, p)
		VFNMADD231PS(o.scalars["step"], m, p)
		o.store("p", p)
	}, nil)
}

// sumSquares adds in float64 over 16 lanes: two ZMM or four YMM registers.
func sumSquares(v isa) {
	TEXT("sumSquares"+v.name, NOSPLIT, "func(a []float32) float64")
	Pragma("noescape")
	a, n := Load(Param("a").Base(), GP64()), Load(Param("a").Len(), GP64())
	lanes := v.bytes / 8
	acc := make([]reg.VecVirtual, 16/lanes)
	for i := range acc {
		acc[i] = v.reg()
		v.zero(acc[i])
	}
	Label("loop")
	CMPQ(n, Imm(16))
	JL(LabelRef("tail"))
	for i := range acc {
		x := v.reg()
		VCVTPS2PD(Mem{Base: a, Disp: 4 * lanes * i}, x)
		VFMADD231PD(x, x, acc[i])
	}
	ADDQ(Imm(64), a)
	SUBQ(Imm(16), n)
	JMP(LabelRef("loop"))
	Label("tail")
	for i := range acc { // one element at a time into its lane
		for lane := range lanes {
			TESTQ(n, n)
			JZ(LabelRef("done"))
			x, y := XMM(), XMM()
			VCVTSS2SD(Mem{Base: a}, zeroX(x), x)
			VMULSD(x, x, y)
			if v.bytes == 64 {
				z, k, bits := ZMM(), K(), GP32()
				MOVL(U32(1<<lane), bits)
				KMOVW(bits, k)
				VBROADCASTSD(y, z)
				VADDPD(z, acc[i], k, acc[i])
			} else {
				b := YMM()
				VBROADCASTSD(y, b)
				zero := YMM()
				VXORPD(zero, zero, zero)
				VBLENDPD(Imm(uint64(1<<lane)), b, zero, b)
				VADDPD(b, acc[i], acc[i])
			}
			ADDQ(Imm(4), a)
			DECQ(n)
		}
	}
	Label("done")
	var y [2]reg.VecVirtual // 8 lanes after the first addition
	if v.bytes == 64 {
		z, hi := ZMM(), YMM()
		VADDPD(acc[1], acc[0], z)
		VEXTRACTF64X4(Imm(1), z, hi)
		y[0] = YMM()
		VADDPD(hi, z.AsY(), y[0])
	} else {
		y[0], y[1] = YMM(), YMM()
		VADDPD(acc[2], acc[0], y[0])
		VADDPD(acc[3], acc[1], y[1])
		VADDPD(y[1], y[0], y[0])
	}
	x, t := XMM(), XMM()
	VEXTRACTF128(Imm(1), y[0], t)
	VADDPD(t, y[0].AsX(), x)
	VPERMILPD(Imm(1), x, t)
	VADDSD(t, x, x)
	Store(x, ReturnIndex(0))
	VZEROUPPER()
	RET()
}

func zeroX(x reg.VecVirtual) reg.VecVirtual {
	VXORPS(x, x, x)
	return x
}
