package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// attention writes the page kernels of attention.
func attention(v simd) {
	for _, cols := range []int{32, 16, 0} {
		product(v, cols)
	}
	registers := gemmAVX2
	if v.wide() {
		registers = gemmAVX512
	}
	lanes(registers, 32)
	lanes(registers, 16)
	softmax(v)
	gradient(v)
}

// tileRows are the heights of the tiles of product: as many accumulators as there are registers for.
func (v simd) tileRows(cols int) []int {
	switch {
	case v.wide():
		return []int{8, 4, 2, 1}
	case cols == 32:
		return []int{3, 2, 1}
	}
	return []int{4, 2, 1}
}

// prod is a product kernel while it is being written. Strides are in bytes.
type prod struct {
	simd
	vecs                             int
	masks                            []mask // of the registers of a row; nil = all lanes
	m, a, rsa, rsa3, csa, c, ldc, cr reg.GPVirtual
}

// product: func attnProdNAME(m, k int, a *float32, rsa, csa int, b *float32, ldb int, c *float32, ldc int, corr *float32, mode, n int) computes m
// rows of 32 or 16 columns, or (cols 0) of n columns, n <= 16. Each output is one chain of fma with k ascending; see vecOps.attnProd.
func product(v simd, cols int) {
	name := fmt.Sprint(cols)
	if cols == 0 {
		name = "Tail"
	}
	TEXT("attnProd"+name+v.name, NOSPLIT, "func(m, k int, a *float32, rsa, csa int, b *float32, ldb int, c *float32, ldc int, corr *float32, mode, n int)")
	Pragma("noescape")
	p := &prod{simd: v, vecs: max(cols, 16) * 4 / v.bytes}
	for _, f := range []struct {
		to   *reg.GPVirtual
		name string
	}{{&p.m, "m"}, {&p.a, "a"}, {&p.rsa, "rsa"}, {&p.csa, "csa"}, {&p.c, "c"}, {&p.ldc, "ldc"}, {&p.cr, "corr"}} {
		*f.to = Load(Param(f.name), GP64()).(reg.GPVirtual)
	}
	p.masks = make([]mask, p.vecs)
	if cols == 0 {
		p.masks = v.first(Load(Param("n"), GP64()).(reg.GPVirtual), 16)
	}
	p.rsa3 = GP64()
	LEAQ(Mem{Base: p.rsa, Index: p.rsa, Scale: 2}, p.rsa3)
	for _, rows := range v.tileRows(cols) {
		again, next := fmt.Sprintf("rows%d", rows), fmt.Sprintf("below%d", rows)
		Label(again)
		CMPQ(p.m, Imm(uint64(rows)))
		JL(LabelRef(next))
		p.tile(rows)
		SUBQ(Imm(uint64(rows)), p.m)
		JMP(LabelRef(again))
		Label(next)
	}
	VZEROUPPER()
	RET()
}

// tile computes rows outputs and moves a, c and corr on.
func (p *prod) tile(rows int) {
	label := func(s string) string { return fmt.Sprintf("%s%d", s, rows) }
	sum := make([][]reg.Register, rows)
	for r := range sum {
		for i := range p.vecs {
			sum[r] = append(sum[r], p.fixed(r*p.vecs+i))
		}
	}
	p.start(sum, label)
	pa, pa4 := GP64(), GP64()
	MOVQ(p.a, pa)
	if rows > 4 {
		LEAQ(Mem{Base: p.a, Index: p.rsa, Scale: 4}, pa4)
	}
	k, b, ldb := Load(Param("k"), GP64()), Load(Param("b"), GP64()), Load(Param("ldb"), GP64())
	TESTQ(k, k)
	JZ(LabelRef(label("store")))
	Label(label("loop"))
	p.step(sum, pa, pa4, b)
	ADDQ(ldb, b)
	ADDQ(p.csa, pa)
	if rows > 4 {
		ADDQ(p.csa, pa4)
	}
	DECQ(k)
	JNZ(LabelRef(label("loop")))
	Label(label("store"))
	for r := range sum {
		for i, s := range sum[r] {
			p.store(s, Mem{Base: p.c, Disp: i * p.bytes}, p.masks[i])
		}
		ADDQ(p.ldc, p.c)
	}
	for left := rows; left > 0; left -= 4 {
		move := Mem{Base: p.a, Index: p.rsa, Scale: uint8(min(left, 4))}
		if left == 3 {
			move.Index, move.Scale = p.rsa3, 1
		}
		LEAQ(move, p.a)
	}
	ADDQ(Imm(uint64(4*rows)), p.cr)
}

// fixed returns register i; with all 16 of AVX2 in use the allocator needs the help.
func (p *prod) fixed(i int) reg.Register {
	if p.vecs < 4 {
		return p.reg()
	}
	return []reg.Register{reg.Y0, reg.Y1, reg.Y2, reg.Y3, reg.Y4, reg.Y5, reg.Y6, reg.Y7, reg.Y8, reg.Y9, reg.Y10, reg.Y11, reg.Y12, reg.Y13, reg.Y14, reg.Y15}[i]
}

// start sets the accumulators as the mode says: 0, C, or C*corr.
func (p *prod) start(sum [][]reg.Register, label func(string) string) {
	mode := Load(Param("mode"), GP64())
	TESTQ(mode, mode)
	JNZ(LabelRef(label("stored")))
	for r := range sum {
		for _, s := range sum[r] {
			VMOVUPS(constant(0), s) // a register xored with itself would count as alive everywhere before
		}
	}
	JMP(LabelRef(label("begin")))
	Label(label("stored"))
	at := GP64()
	MOVQ(p.c, at)
	for r := range sum {
		for i, s := range sum[r] {
			VMOVUPS(p.loaded(Mem{Base: at, Disp: i * p.bytes}, p.masks[i]), s)
		}
		if r < len(sum)-1 {
			ADDQ(p.ldc, at)
		}
	}
	CMPQ(mode, Imm(2))
	JNE(LabelRef(label("begin")))
	for r := range sum {
		x := p.reg()
		VBROADCASTSS(Mem{Base: p.cr, Disp: 4 * r}, x)
		for _, s := range sum[r] {
			VMULPS(x, s, s)
		}
	}
	Label(label("begin"))
}

// loaded returns an operand with the masked value at an address.
func (p *prod) loaded(at Mem, m mask) Op {
	if m == nil {
		return at
	}
	return p.load(at, m)
}

// step adds one k to all accumulators: rows of A broadcast, one row of B.
func (p *prod) step(sum [][]reg.Register, pa, pa4, b reg.Register) {
	at := func(r int) Mem {
		base := pa
		if r >= 4 {
			base = pa4
		}
		return []Mem{{Base: base}, {Base: base, Index: p.rsa, Scale: 1}, {Base: base, Index: p.rsa, Scale: 2}, {Base: base, Index: p.rsa3, Scale: 1}}[r%4]
	}
	row := func(i int) reg.VecVirtual { return p.load(Mem{Base: b, Disp: i * p.bytes}, p.masks[i]) }
	if p.vecs == 4 { // AVX2, 32 columns: the rows' factors stay, B passes through one register
		var x []reg.Register
		for r := range sum {
			x = append(x, p.fixed(12+r))
			VBROADCASTSS(at(r), x[r])
		}
		y := p.fixed(15)
		for i := range p.vecs {
			VMOVUPS(Mem{Base: b, Disp: i * p.bytes}, y)
			for r := range sum {
				VFMADD231PS(y, x[r], sum[r][i])
			}
		}
		return
	}
	var y []reg.VecVirtual
	for i := range p.vecs {
		y = append(y, row(i))
	}
	for r := range sum {
		x := p.reg()
		VBROADCASTSS(at(r), x)
		for i := range y {
			VFMADD231PS(y[i], x, sum[r][i])
		}
	}
}

// page is a kernel over rows of 32 keys while it is being written.
type page struct {
	simd
	r, n  reg.GPVirtual // row, keys that it sees
	masks []mask
}

// rows runs body for every row of the slice count with masks of the first valid[r] of 32 keys, or none for a row that sees nothing.
func rows(v simd, name, count string, body func(p *page), none func(p *page)) {
	label := func(s string) string { return name + "_" + s }
	total := Load(Param(count).Len(), GP64())
	valid := Load(Param("valid").Base(), GP64())
	p := &page{simd: v, r: GP64(), n: GP64()}
	XORQ(p.r, p.r)
	Label(label("row"))
	CMPQ(p.r, total)
	JGE(LabelRef(label("end")))
	MOVLQSX(Mem{Base: valid, Index: p.r, Scale: 4}, p.n)
	TESTQ(p.n, p.n)
	JZ(LabelRef(label("none")))
	p.masks = v.first(p.n, 32)
	body(p)
	JMP(LabelRef(label("next")))
	Label(label("none"))
	none(p)
	Label(label("next"))
	INCQ(p.r)
	JMP(LabelRef(label("row")))
	Label(label("end"))
}

// at returns the address of register i of the row in a block [rows][32] that begins at base; cursor is scratch.
func (p *page) at(base reg.Register) func(i int) Mem {
	cursor := GP64()
	MOVQ(p.r, cursor)
	SHLQ(Imm(7), cursor)
	ADDQ(base, cursor)
	return func(i int) Mem { return Mem{Base: cursor, Disp: i * p.bytes} }
}

func (p *page) registers() int { return 128 / p.bytes }

// softmax: see vecOps.attnSoftmax. Three passes over the rows, so that the many rows' short chains of instructions overlap: the maxima (into
// corr), the corrections of 16 rows at a time, the exponentials.
func softmax(v simd) {
	TEXT("attnSoftmax"+v.name, NOSPLIT, "func(s []float32, valid []int32, scale float32, m, l, corr []float32)")
	Pragma("noescape")
	o := &op{simd: v, slices: []string{"s", "m", "l", "corr"}, ptr: map[string]reg.Register{}, scalars: map[string]reg.VecVirtual{}}
	o.arguments("scale")
	maxima(o)
	o.each(Load(Param("corr").Len(), GP64()).(reg.GPVirtual), func(o *op) {
		top, old := o.get("corr"), o.get("m")
		o.put("m", top)
		VSUBPS(top, old, old)
		o.put("corr", o.exp(old))
	})
	weights(o)
	o.returns()
}

func (o *op) of(slice string, p *page) Mem { return Mem{Base: o.ptr[slice], Index: p.r, Scale: 4} }

// maxima sets corr to the larger of m and the row's scaled scores.
func maxima(o *op) {
	rows(o.simd, "maxima", "corr", func(p *page) {
		at := p.at(o.ptr["s"])
		var top []reg.VecVirtual
		for range 64 / o.bytes {
			t := o.reg()
			VBROADCASTSS(o.of("m", p), t)
			top = append(top, t)
		}
		for i := range p.registers() {
			x := o.reg()
			VMULPS(at(i), o.scalars["scale"], x)
			x = o.choose(p.masks[i], x, o.splat(float32(math.Inf(-1))))
			t := top[i%len(top)]
			VMAXPS(t, x, t) // passes over NaN, which then shows in the sum
		}
		VMOVSS(o.tree(top, largest).AsX(), o.of("corr", p))
	}, func(p *page) {
		m := XMM()
		VMOVSS(o.of("m", p), m)
		VMOVSS(m, o.of("corr", p))
	})
}

// weights replaces the scores by their exponentials and brings l up to date.
func weights(o *op) {
	rows(o.simd, "weights", "corr", func(p *page) {
		at, top := p.at(o.ptr["s"]), o.reg()
		VBROADCASTSS(o.of("m", p), top)
		var sum []reg.VecVirtual
		for i := range p.registers() {
			x := o.reg()
			VMULPS(at(i), o.scalars["scale"], x)
			VSUBPS(top, x, x)
			e := o.exp(x)
			o.keep(e, p.masks[i])
			VMOVUPS(e, at(i))
			if have := 64 / o.bytes; i < have {
				sum = append(sum, e)
			} else {
				VADDPS(e, sum[i-have], sum[i-have])
			}
		}
		total, l := o.tree(sum, add), XMM()
		VMOVSS(o.of("l", p), l)
		VFMADD231SS(o.of("corr", p), l, total)
		VMOVSS(total.AsX(), o.of("l", p))
	}, func(p *page) {
		at, z := p.at(o.ptr["s"]), o.reg()
		o.zero(z)
		for i := range p.registers() {
			VMOVUPS(z, at(i))
		}
		one := XMM()
		VMOVSS(constant(1), one)
		VMOVSS(one, o.of("corr", p))
	})
}

// gradient: see vecOps.attnGrad.
func gradient(v simd) {
	TEXT("attnGrad"+v.name, NOSPLIT, "func(s, dp []float32, valid []int32, scale float32, lse, d []float32)")
	Pragma("noescape")
	s, dp := Load(Param("s").Base(), GP64()), Load(Param("dp").Base(), GP64())
	lse, d := Load(Param("lse").Base(), GP64()), Load(Param("d").Base(), GP64())
	rows(v, "gradient", "d", func(p *page) {
		atS, atD := p.at(s), p.at(dp)
		scale, shift, mean := v.reg(), v.reg(), v.reg()
		VBROADCASTSS(NewParamAddr("scale", 72), scale)
		VBROADCASTSS(Mem{Base: lse, Index: p.r, Scale: 4}, shift)
		VBROADCASTSS(Mem{Base: d, Index: p.r, Scale: 4}, mean)
		for i := range p.registers() {
			x := v.load(atS(i), nil)
			VFMSUB213PS(shift, scale, x)
			e := v.exp(x)
			v.keep(e, p.masks[i])
			VMOVUPS(e, atS(i))
			g := v.load(atD(i), nil)
			VSUBPS(mean, g, g)
			VMULPS(e, g, g)
			VMULPS(scale, g, g)
			v.keep(g, p.masks[i])
			VMOVUPS(g, atD(i))
		}
	}, func(p *page) {
		atS, atD, z := p.at(s), p.at(dp), v.reg()
		v.zero(z)
		for i := range p.registers() {
			VMOVUPS(z, atS(i))
			VMOVUPS(z, atD(i))
		}
	})
	VZEROUPPER()
	RET()
}
