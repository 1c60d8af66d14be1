package main

import (
	"fmt"
	"math"
	"strings"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// vec writes the vector operations. Each is described once, for 16 virtual lanes: one ZMM register, or two YMM registers one after the other,
// with the same operations in the same order, so that both give the same bytes.
func vec() {
	for _, v := range []simd{{"AVX512", 64}, {"AVX2", 32}} {
		pointwise(v)
		reductions(v)
		sumSquares(v)
		exponentials(v)
		activations(v)
		others(v)
		norms(v)
		adamW(v)
		rope(v)
		attention(v)
	}
}

// simd is one instruction set: its suffix and the bytes of a register.
type simd struct {
	name  string
	bytes int
}

func (v simd) wide() bool { return v.bytes == 64 }

func (v simd) reg() reg.VecVirtual {
	switch v.bytes {
	case 64:
		return ZMM()
	case 32:
		return YMM()
	}
	return XMM()
}

func (v simd) zero(r reg.VecVirtual) {
	if v.wide() {
		VPXORD(r, r, r)
	} else {
		VXORPS(r, r, r)
	}
}

// splat loads a constant into a new register.
func (v simd) splat(x float32) reg.VecVirtual {
	r := v.reg()
	VMOVUPS(constant(x), r)
	return r
}

// mask is a mask register: K on AVX-512, a YMM of all or no bits on AVX2. nil = all lanes.
type mask = reg.Register

func (v simd) load(at Mem, m mask) reg.VecVirtual {
	r := v.reg()
	switch {
	case m == nil:
		VMOVUPS(at, r)
	case v.wide():
		VMOVUPS_Z(at, m, r)
	default:
		VMASKMOVPS(at, m, r)
	}
	return r
}

func (v simd) store(r Op, at Mem, m mask) {
	switch {
	case m == nil:
		VMOVUPS(r, at)
	case v.wide():
		VMOVUPS(r, m, at)
	default:
		VMASKMOVPS(r, m, at)
	}
}

// keep clears the lanes outside m.
func (v simd) keep(r reg.VecVirtual, m mask) {
	switch {
	case m == nil:
	case v.wide():
		VMOVAPS_Z(r, m, r)
	default:
		VANDPS(m, r, r)
	}
}

// choose returns a register with r where m is set, other elsewhere; it may overwrite other.
func (v simd) choose(m mask, r, other reg.VecVirtual) reg.VecVirtual {
	if v.wide() {
		VMOVAPS(r, m, other)
	} else {
		VBLENDVPS(m, r, other, other)
	}
	return other
}

// first returns masks of the first n lanes of each register of a run of lanes.
func (v simd) first(n reg.GPVirtual, lanes int) []mask {
	var out []mask
	if v.wide() {
		bits := GP64()
		MOVQ(I32(-1), bits)
		BZHIQ(n, bits, bits)
		for i := 0; i < lanes; i += 16 {
			k := K()
			KMOVW(bits.As32(), k)
			out = append(out, k)
			if i+16 < lanes {
				SHRQ(Imm(16), bits)
			}
		}
		return out
	}
	count := YMM()
	VMOVD(n.As32(), count.AsX())
	VPBROADCASTD(count.AsX(), count)
	for i := 0; i < lanes; i += 8 {
		m := YMM()
		VPCMPGTD(iota32().Offset(4*i), count, m)
		out = append(out, m)
	}
	return out
}

// tree combines 16 lanes into the lowest of the returned register: 8 with 8, 4 with 4, 2 with 2, 1 with 1.
func (v simd) tree(lanes []reg.VecVirtual, combine func(a, b, dst Op)) reg.VecVirtual {
	y := YMM()
	if v.wide() {
		VEXTRACTF64X4(Imm(1), lanes[0], y)
		combine(y, lanes[0].AsY(), y)
	} else {
		combine(lanes[1], lanes[0], y)
	}
	x, t := XMM(), XMM()
	VEXTRACTF128(Imm(1), y, t)
	combine(t, y.AsX(), x)
	VMOVHLPS(x, x, t)
	combine(t, x, x)
	VMOVSHDUP(x, t)
	combine(t, x, x)
	return x
}

func add(a, b, dst Op)     { VADDPS(a, b, dst) }
func largest(a, b, dst Op) { VMAXPS(a, b, dst) }

var (
	consts = map[uint32]Mem{}
	iotas  *Mem
)

// constant returns a float replicated over 16 lanes in read-only memory.
func constant(x float32) Mem {
	bits := math.Float32bits(x)
	m, ok := consts[bits]
	if !ok {
		m = GLOBL(fmt.Sprintf("%s_%08x", *what, bits), RODATA|NOPTR)
		for i := range 16 {
			DATA(4*i, U32(bits))
		}
		consts[bits] = m
	}
	return m
}

// iota32 returns the integers 0 to 31 in read-only memory.
func iota32() Mem {
	if iotas == nil {
		m := GLOBL(*what+"_iota", RODATA|NOPTR)
		for i := range 32 {
			DATA(4*i, U32(i))
		}
		iotas = &m
	}
	return *iotas
}

// op is one operation while it is being written. Its body describes one register: half 0, or on AVX2 half 0 and 1, of 16 lanes.
type op struct {
	simd
	slices  []string
	ptr     map[string]reg.Register
	scalars map[string]reg.VecVirtual
	sums    map[string][]reg.VecVirtual
	off     reg.GPVirtual
	half    int
	mask    mask
}

// begin starts func NAME(slices []float32, scalars float32) result, with accumulators named sums.
func begin(v simd, name, slices, scalars, sums, result string) *op {
	o := &op{simd: v, slices: strings.Fields(slices), ptr: map[string]reg.Register{}, scalars: map[string]reg.VecVirtual{}, sums: map[string][]reg.VecVirtual{}}
	params := strings.Join(o.slices, ", ") + " []float32"
	if scalars != "" {
		params += ", " + strings.Join(strings.Fields(scalars), ", ") + " float32"
	}
	TEXT(name+v.name, NOSPLIT, "func("+params+") "+result)
	Pragma("noescape")
	o.arguments(scalars)
	for _, s := range strings.Fields(sums) {
		for range 64 / v.bytes {
			r := v.reg()
			v.zero(r)
			o.sums[s] = append(o.sums[s], r)
		}
	}
	return o
}

func (o *op) arguments(scalars string) {
	for _, s := range o.slices {
		o.ptr[s] = Load(Param(s).Base(), GP64())
	}
	for _, s := range strings.Fields(scalars) {
		at, err := Param(s).Resolve()
		if err != nil {
			panic(err)
		}
		o.scalars[s] = o.reg()
		VBROADCASTSS(at.Addr, o.scalars[s])
	}
}

func (o *op) at(name string) Mem {
	return Mem{Base: o.ptr[name], Index: o.off, Scale: 1, Disp: o.half * 32}
}
func (o *op) get(name string) reg.VecVirtual    { return o.load(o.at(name), o.mask) }
func (o *op) put(name string, r reg.VecVirtual) { o.store(r, o.at(name), o.mask) }
func (o *op) sum(name string) reg.VecVirtual    { return o.sums[name][o.half] }

// each runs body over n elements: 16 at a time, then a masked tail whose missing lanes read 0. It uses up n.
func (o *op) each(n reg.GPVirtual, body func(o *op)) {
	o.off = GP64()
	XORQ(o.off, o.off)
	SUBQ(Imm(16), n)
	JL(LabelRef("tail"))
	Label("loop")
	o.mask = nil
	for o.half = range 64 / o.bytes {
		body(o)
	}
	ADDQ(Imm(64), o.off)
	SUBQ(Imm(16), n)
	JGE(LabelRef("loop"))
	Label("tail")
	ADDQ(Imm(16), n)
	JZ(LabelRef("done"))
	masks := o.first(n, 16)
	for o.half, o.mask = range masks {
		body(o)
	}
	o.mask = nil
	Label("done")
}

// returns writes the row sums and ends the function.
func (o *op) returns(names ...string) {
	for _, s := range names {
		Store(o.tree(o.sums[s], add), Return(s))
	}
	VZEROUPPER()
	RET()
}

// vector writes a whole operation over the elements of its first slice. Accumulators are returned under their names.
func vector(v simd, name, slices, scalars, sums string, body func(o *op)) {
	result := ""
	if sums != "" {
		result = "(" + strings.Join(strings.Fields(sums), ", ") + " float32)"
	}
	o := begin(v, name, slices, scalars, sums, result)
	o.each(Load(Param(o.slices[0]).Len(), GP64()).(reg.GPVirtual), body)
	o.returns(strings.Fields(sums)...)
}
