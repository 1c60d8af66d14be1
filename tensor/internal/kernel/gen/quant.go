package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// quant writes the kernels that multiply by quantised weights and the ones that widen them. Weights lie as kernel.Quant says: blocks of 32
// steps of K of 16 columns, first the scales (and minima) of the columns as float16, then for each step 16 signed bytes; or for each four steps
// 16 times four bytes, whose low nibbles are those steps' and whose high ones those of 16 steps later.
func quant() {
	nibbles := map[string]Mem{"Q4_0": nibbleTable("nibbles4_0", -8), "Q4_1": nibbleTable("nibbles4_1", 0)}
	for _, v := range []gemmISA{gemmAVX512, gemmAVX2} {
		for _, f := range []string{"Q8_0", "Q4_0", "Q4_1"} {
			quantTile(quantKernel{gemmISA: v, format: f, nibbles: nibbles[f]})
			quantWiden(quantKernel{gemmISA: v, format: f, nibbles: nibbles[f]})
		}
	}
}

// nibbleTable declares the 16 values of a nibble, ascending from the first.
func nibbleTable(name string, first int) Mem {
	m := GLOBL(name, RODATA|NOPTR)
	for i := range 16 {
		DATA(4*i, U32(math.Float32bits(float32(first+i))))
	}
	return m
}

// quantKernel is one format on one instruction set, with the registers of the kernel being written.
type quantKernel struct {
	gemmISA
	format  string
	nibbles Mem

	scale, minimum []VecPhysical // [vector]
	nibble         VecPhysical   // AVX-512: the values of a nibble; AVX2: the mask of one
	minus8         VecPhysical   // AVX2, Q4_0
}

func (v quantKernel) name() string { return v.format + v.gemmISA.name }

// parts is how many vectors make the 16 columns of a group.
func (v quantKernel) parts() int { return 64 / v.bytes }

// head is how many bytes stand before the numbers of a block.
func (v quantKernel) head() int {
	if v.format == "Q4_1" {
		return 64
	}
	return 32
}

// chunk is the size of a block of a group in bytes.
func (v quantKernel) chunk() int {
	if v.format == "Q8_0" {
		return v.head() + 512
	}
	return v.head() + 256
}

// take gives the kernel its registers for so many vectors of columns and returns the others.
func (v *quantKernel) take(vecs int, free []VecPhysical) []VecPhysical {
	v.scale, free = free[:vecs], free[vecs:]
	if v.format == "Q4_1" {
		v.minimum, free = free[:vecs], free[vecs:]
	}
	if v.format == "Q8_0" {
		return free
	}
	v.nibble, free = free[0], free[1:]
	if v.bytes == 32 && v.format == "Q4_0" {
		v.minus8, free = free[0], free[1:]
	}
	return free
}

// constants fills the registers that stay.
func (v *quantKernel) constants() {
	switch {
	case v.format == "Q8_0":
	case v.bytes == 64:
		VMOVUPS(v.nibbles, v.nibble)
	default:
		VPCMPEQD(v.nibble, v.nibble, v.nibble)
		VPSRLD(Imm(28), v.nibble, v.nibble)
		if v.format == "Q4_0" {
			VBROADCASTSS(v.nibbles, v.minus8) // -8
		}
	}
}

// scales reads the head of a block for vector i; at addresses the group.
func (v *quantKernel) scales(i int, at func(disp int) Mem) {
	disp := i % v.parts() * v.bytes / 2
	VCVTPH2PS(at(disp), v.scale[i])
	if v.format == "Q4_1" {
		VCVTPH2PS(at(32+disp), v.minimum[i])
	}
}

// widen writes to w the numbers of vector i in step u of the unrolled ones; at addresses the group. The product of an 11-bit scale and a number
// of 8 bits is exact, so that one multiply-add gives Q4_1 the bytes of product and sum.
func (v *quantKernel) widen(i, u int, high bool, at func(disp int) Mem, w VecPhysical) {
	part := i % v.parts()
	if v.format == "Q8_0" {
		VPMOVSXBD(at(16*u+8*part), w)
		VCVTDQ2PS(w, w)
		VMULPS(v.scale[i], w, w)
		return
	}
	m, shift := at(32*part), uint64(8*u)
	if high {
		shift += 4
	}
	if v.bytes == 64 {
		if shift == 0 {
			VMOVUPS(m, w)
		} else {
			VPSRLD(Imm(shift), m, w)
		}
		VPERMPS(v.nibble, w, w) // takes the lowest four bits
	} else {
		VMOVUPS(m, w)
		if shift > 0 {
			VPSRLD(Imm(shift), w, w)
		}
		if shift < 28 {
			VPAND(v.nibble, w, w)
		}
		VCVTDQ2PS(w, w)
		if v.format == "Q4_0" {
			VADDPS(v.minus8, w, w)
		}
	}
	if v.format == "Q4_1" {
		VFMADD213PS(v.minimum[i], v.scale[i], w)
	} else {
		VMULPS(v.scale[i], w, w)
	}
}

// steps writes the loops over the steps of K of one block: body gets the number of the step within the unrolled ones, of which nibbles want four; ptr is moved behind the block.
func (v *quantKernel) steps(name string, ptr, count GPPhysical, unroll int, body func(u int, high bool), after func()) {
	ADDQ(Imm(uint64(v.head())), ptr)
	loop := func(label string, n int, high bool) {
		MOVQ(U32(n/unroll), count)
		Label(label)
		for u := range unroll {
			body(u, high)
		}
		ADDQ(Imm(uint64(16*unroll)), ptr)
		after()
		DECQ(count)
		JNZ(LabelRef(label))
	}
	if v.format == "Q8_0" {
		loop(name+"k", 32, false)
		return
	}
	loop(name+"low", 16, false)
	SUBQ(U32(256), ptr)
	loop(name+"high", 16, true)
}

// Registers of quantTile beside those of tile kernels.
var (
	ptrQ, rsq, rsq3 = RBX, R11, R12
	quantRSC        = R13
	quantBlocks     = RCX
	quantCount      = R14
	quantC          = RDX
	quantAhead      = R15 // the groups that come next
)

// Offsets of the fields of kernel.quantTile, which quant_amd64.go declares in this order.
const (
	offQuantA = 8 * iota
	offQuantQ
	offQuantC
	offQuantRSA
	offQuantRSQ
	offQuantRSC
	offQuantRows
	offQuantBlocks
	offQuantGroups
	offQuantAcc
)

// groups lists how many groups of 16 columns a tile of so many rows may have, most first.
func (v quantKernel) groups(rows int) []int {
	switch {
	case v.bytes == 64:
		return []int{4, 1}
	case rows == 1:
		return []int{2, 1}
	}
	return []int{1}
}

// quantTile writes func quantTileX(t *byte), where t is a kernel.quantTile: C[rows][16*groups] (+)= A W^T for 1 to 4 rows, with the chains of
// the tile kernels, the weights widened in registers.
func quantTile(v quantKernel) {
	TEXT("quantTile"+v.name(), NOSPLIT, "func(t *byte)")
	Doc("quantTile" + v.name() + " multiplies t.rows rows by t.groups groups of columns of quantised weights.")
	Pragma("noescape")
	Load(Param("t"), argT)
	for _, f := range []struct {
		off int
		r   GPPhysical
	}{{offQuantA, ptrA}, {offQuantQ, ptrQ}, {offQuantC, quantC}, {offQuantRSA, rsa}, {offQuantRSQ, rsq}, {offQuantRSC, quantRSC}, {offQuantBlocks, quantBlocks}} {
		MOVQ(field(f.off), f.r)
	}
	LEAQ(Mem{Base: rsa, Index: rsa, Scale: 2}, rsa3)
	LEAQ(Mem{Base: rsq, Index: rsq, Scale: 2}, rsq3)
	name := func(rows, groups int) string { return fmt.Sprintf("r%dg%d", rows, groups) }
	for rows := 4; rows >= 1; rows-- {
		list := v.groups(rows)
		if rows > 1 {
			CMPQ(field(offQuantRows), Imm(uint64(rows)))
			JNE(LabelRef(fmt.Sprintf("below%d", rows)))
		}
		for i, groups := range list {
			if i+1 < len(list) {
				CMPQ(field(offQuantGroups), Imm(uint64(groups)))
				JNE(LabelRef(name(rows, list[i+1])))
			}
			if i > 0 {
				Label(name(rows, groups))
			}
			v.tile(name(rows, groups), rows, groups)
			JMP(LabelRef("done"))
		}
		if rows > 1 {
			Label(fmt.Sprintf("below%d", rows))
		}
	}
	Label("done")
	VZEROUPPER()
	RET()
}

// tile writes the tile of so many rows and groups.
func (v quantKernel) tile(name string, rows, groups int) {
	parts := v.parts()
	vecs := groups * parts
	acc := func(r, i int) VecPhysical { return v.regs[r*vecs+i] }
	free := v.take(vecs, v.regs[rows*vecs:])
	v.constants()
	each := func(do func(m Mem, r VecPhysical)) {
		MOVQ(quantC, quantCount)
		for r := range rows {
			for i := range vecs {
				do(Mem{Base: quantCount, Disp: i * v.bytes}, acc(r, i))
			}
			ADDQ(quantRSC, quantCount)
		}
	}
	for r := range rows {
		for i := range vecs {
			v.zero(acc(r, i))
		}
	}
	CMPQ(field(offQuantAcc), Imm(0))
	JEQ(LabelRef(name + "block"))
	each(func(m Mem, r VecPhysical) { VMOVUPS(m, r) })
	Label(name + "block")
	for i := range vecs {
		v.scales(i, func(disp int) Mem { return group(i/parts, disp) })
	}
	v.prefetch(groups)
	unroll := 4
	if v.format == "Q8_0" {
		unroll = max(1, 4/rows)
	}
	v.steps(name, ptrQ, quantCount, unroll, func(u int, high bool) { v.step(rows, vecs, u, high, acc, free) }, func() { ADDQ(Imm(uint64(4*unroll)), ptrA) })
	DECQ(quantBlocks)
	JNZ(LabelRef(name + "block"))
	each(func(m Mem, r VecPhysical) { VMOVUPS(r, m) })
}

// prefetch asks for the block at the same place of the groups that come next: they lie behind these, where no hardware looks ahead in time.
func (v *quantKernel) prefetch(groups int) {
	if groups == 1 {
		return
	}
	LEAQ(Mem{Base: ptrQ, Index: rsq, Scale: uint8(groups)}, quantAhead)
	for g := range groups {
		for d := 0; d < v.chunk(); d += 64 {
			m := group(g, d)
			m.Base = quantAhead
			PREFETCHT0(m)
		}
	}
}

// step adds the products of one step of K. Where registers are left A's elements wait in some of them, else one passes through.
func (v *quantKernel) step(rows, vecs, u int, high bool, acc func(r, i int) VecPhysical, free []VecPhysical) {
	parts := v.parts()
	element := func(r int) Mem {
		m := rowOfA(r)
		m.Disp = 4 * u
		return m
	}
	if v.bytes == 64 {
		column, pass := free[:rows], free[rows:]
		for r := range rows {
			VBROADCASTSS(element(r), column[r])
		}
		for i := range vecs {
			w := pass[i%min(len(pass), 4)]
			v.widen(i, u, high, func(disp int) Mem { return group(i/parts, disp) }, w)
			for r := range rows {
				VFMADD231PS(w, column[r], acc(r, i))
			}
		}
		return
	}
	x, pass := free[0], free[1:]
	for i := 0; i < vecs; i += 2 {
		for p := range 2 {
			v.widen(i+p, u, high, func(disp int) Mem { return group(i/parts, disp) }, pass[p])
		}
		for r := range rows {
			VBROADCASTSS(element(r), x)
			VFMADD231PS(pass[0], x, acc(r, i))
			VFMADD231PS(pass[1], x, acc(r, i+1))
		}
	}
}

// group is the address of a group's bytes at the pointer that walks through the first group.
func group(g, disp int) Mem {
	m := Mem{Base: ptrQ, Disp: disp}
	switch g {
	case 1:
		m.Index, m.Scale = rsq, 1
	case 2:
		m.Index, m.Scale = rsq, 2
	case 3:
		m.Index, m.Scale = rsq3, 1
	}
	return m
}

// quantWiden writes func quantWidenX(blocks int, src *byte, dst *float32, ldd int).
func quantWiden(v quantKernel) {
	TEXT("quantWiden"+v.name(), NOSPLIT, "func(blocks int, src *byte, dst *float32, ldd int)")
	Doc("quantWiden" + v.name() + " writes blocks of 32 rows of 16 floats, ldd bytes apart.")
	Pragma("noescape")
	Load(Param("blocks"), RCX)
	Load(Param("src"), RBX)
	Load(Param("dst"), RDI)
	Load(Param("ldd"), R8)
	free := v.take(v.parts(), v.regs)
	v.constants()
	Label("block")
	for i := range v.parts() {
		v.scales(i, func(disp int) Mem { return Mem{Base: RBX, Disp: disp} })
	}
	v.steps("", RBX, R14, 4, func(u int, high bool) {
		for i := range v.parts() {
			w := free[(u*v.parts()+i)%min(len(free), 8)]
			v.widen(i, u, high, func(disp int) Mem { return Mem{Base: RBX, Disp: disp} }, w)
			VMOVUPS(w, Mem{Base: RDI, Disp: 32 * i})
		}
		ADDQ(R8, RDI)
	}, func() {})
	DECQ(RCX)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()
}
