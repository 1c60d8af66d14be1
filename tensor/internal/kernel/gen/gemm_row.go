package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// rowSteps is how many steps of K, rows of B, a row kernel takes at a time.
const rowSteps = 8

// row writes func rowX(vecs int, a, b *float32, ldb int, c *float32, acc, ahead int): eight steps of K of a product of one row. It walks along
// eight rows of B from end to end, which is the order of memory, and keeps C in the cache between one call and the next.
func row(v gemmISA) {
	TEXT("row"+v.name, NOSPLIT, "func(vecs int, a, b *float32, ldb int, c *float32, acc, ahead int)")
	Doc("row" + v.name + " computes C (+)= A B for one row, eight steps of K and vecs registers of columns; ldb and ahead are in bytes.")
	Pragma("noescape")
	for _, p := range []struct {
		name string
		r    GPPhysical
	}{{"vecs", RCX}, {"a", RSI}, {"b", ntBases[0]}, {"ldb", ntRSB}, {"c", RDI}, {"acc", RAX}, {"ahead", RDX}} {
		Load(Param(p.name), p.r)
	}
	LEAQ(Mem{Base: ntRSB, Index: ntRSB, Scale: 2}, ntRSB3)
	LEAQ(Mem{Base: ntRSB, Index: ntRSB, Scale: 4}, ntRSB5)
	LEAQ(Mem{Base: ntRSB5, Index: ntRSB, Scale: 2}, ntRSB7)
	ADDQ(ntBases[0], RDX)
	for q := range rowSteps {
		VBROADCASTSS(Mem{Base: RSI, Disp: 4 * q}, v.regs[q])
	}
	for _, stored := range []bool{false, true} {
		label := map[bool]string{false: "fresh", true: "stored"}[stored]
		if !stored {
			TESTQ(RAX, RAX)
			JNZ(LabelRef("stored"))
		}
		Label(label)
		sum := v.regs[rowSteps]
		if stored {
			VMOVUPS(Mem{Base: RDI}, sum)
		} else {
			v.zero(sum)
		}
		for q := range rowSteps {
			m := ntRow(q, 0)
			VFMADD231PS(m, v.regs[q], sum)
			m.Base = RDX
			PREFETCHT1(m)
		}
		VMOVUPS(sum, Mem{Base: RDI})
		for _, r := range []GPPhysical{ntBases[0], RDX, RDI} {
			ADDQ(Imm(uint64(v.bytes)), r)
		}
		DECQ(RCX)
		JNZ(LabelRef(label))
		if !stored {
			JMP(LabelRef("done"))
		}
	}
	Label("done")
	VZEROUPPER()
	RET()
}
