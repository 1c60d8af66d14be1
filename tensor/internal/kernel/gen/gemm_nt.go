package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// Registers of an ntTile beside those of A. The argument is read before the loop and again behind it.
var (
	ntBases = []GPPhysical{RBX, RDX, R10, R11} // rows 0, 8, 16 and 24 of B
	ntRSB   = R12
	ntRSB3  = R13
	ntRSB5  = R14
	ntRSB7  = R15
	ntNext  = RAX // what the next tile reads
	ntC     = RBX // outside the loop
	ntRSC   = RDX
)

// Offsets of the fields of kernel.ntTile, which gemm_nt_amd64.go declares in this order.
const (
	offNtA = 8 * iota
	offNtB
	offNtC
	offNtRSA
	offNtRSB
	offNtRSC
	offNtRows
	offNtQuads
	offNtGroups
	offNtAcc
)

// ntGroup is the number of columns of C, rows of B, that a tile has once or twice.
const ntGroup = 16

// ntGroups lists how many groups of 16 columns the tiles of so many rows have, the larger first. AVX2 has registers for two where rows are few;
// AVX-512 then spends them on four times as many steps of K.
func (v gemmISA) ntGroups(rows int) []int {
	if (rows <= 2) == (v.bytes == 32) {
		return []int{2, 1}
	}
	return []int{1}
}

// ntTile writes func ntX(t *byte), where t is a kernel.ntTile: C[rows][16*groups] (+)= A B^T, B being read as it lies, [n][k]. Four columns of B
// are transposed in registers and multiplied at once, so every output is the chain of a tile kernel, and nothing is written but C.
func ntTile(v gemmISA) {
	TEXT("nt"+v.name, NOSPLIT, "func(t *byte)")
	Doc("nt" + v.name + " multiplies t.rows rows by 16*t.groups rows of B, 4*t.quads steps of K.")
	Pragma("noescape")
	Load(Param("t"), argT)
	name := func(rows, groups int) string { return fmt.Sprintf("r%dg%d", rows, groups) }
	for rows := v.rows; rows >= 1; rows-- {
		list := v.ntGroups(rows)
		if rows > 1 {
			CMPQ(field(offNtRows), Imm(uint64(rows)))
			JNE(LabelRef(fmt.Sprintf("below%d", rows)))
		}
		for i, groups := range list {
			if i+1 < len(list) {
				CMPQ(field(offNtGroups), Imm(uint64(groups)))
				JNE(LabelRef(name(rows, list[i+1])))
			}
			if i > 0 {
				Label(name(rows, groups))
			}
			v.ntRows(name(rows, groups), rows, groups)
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

// ntRows writes the tile of so many rows and groups.
func (v gemmISA) ntRows(name string, rows, groups int) {
	vecs := groups * ntGroup * 4 / v.bytes
	acc := func(r, i int) VecPhysical { return v.regs[r*vecs+i] }
	each := func(do func(m Mem, r VecPhysical)) {
		MOVQ(field(offNtC), ntC)
		MOVQ(field(offNtRSC), ntRSC)
		for r := range rows {
			for i := range vecs {
				do(Mem{Base: ntC, Disp: i * v.bytes}, acc(r, i))
			}
			ADDQ(ntRSC, ntC)
		}
	}
	for r := range rows {
		for i := range vecs {
			v.zero(acc(r, i))
		}
	}
	each(func(m Mem, _ VecPhysical) { PREFETCHT0(m) }) // rows of logits lie far apart, and what is stored there is loaded first
	CMPQ(field(offNtAcc), Imm(0))
	JEQ(LabelRef(name + "start"))
	each(func(m Mem, r VecPhysical) { VMOVUPS(m, r) })
	Label(name + "start")
	v.ntPointers(rows, groups)
	v.ntLoop(name+"line", rows, groups, acc, 4)
	Load(Param("t"), RAX)
	MOVQ(Mem{Base: RAX, Disp: offNtQuads}, count)
	ANDQ(Imm(3), count)
	v.ntLoop(name+"quad", rows, groups, acc, 1)
	Load(Param("t"), argT)
	each(func(m Mem, r VecPhysical) { VMOVUPS(r, m) })
}

// ntLoop multiplies count times so many quads of K: first all of them of one group of columns, so that a line of B is used up before others, which
// may fall on the same place in the cache, take its place.
func (v gemmISA) ntLoop(name string, rows, groups int, acc func(r, i int) VecPhysical, quads int) {
	vecs := groups * ntGroup * 4 / v.bytes
	TESTQ(count, count)
	JZ(LabelRef(name + "end"))
	Label(name)
	free := v.regs[rows*vecs:]
	if v.bytes == 64 && rows <= 2 && quads > 1 { // registers for 16 columns: a line of B is read at once
		for i := range 4 {
			for u := range quads {
				gather(v, free[4*u+i], func(lane int) Mem { return ntRow(i+4*lane, 16*u) })
			}
			v.ntAsk(i, 4, 16)
		}
		for u := range quads {
			in := free[4*u : 4*u+4]
			unpack(in, free[16:20])
			v.ntMultiply(rows, 0, 16*u, acc, in, nil)
		}
	} else {
		for i := range vecs {
			for u := range quads {
				if quads > 1 {
					v.ntAsk(i*quads+u, vecs*quads, groups*quads*4)
				}
				in, mid := free[:4], free[4:8]
				v.square(in, mid, func(row int) Mem { return ntRow(i*v.bytes/4+row, 16*u) })
				v.ntMultiply(rows, i, 16*u, acc, in, mid)
			}
		}
	}
	if quads > 1 {
		ADDQ(U32(uint32(groups*quads*ntGroup*16)), ntNext)
	}
	for i := range groups * 2 {
		ADDQ(Imm(uint64(16*quads)), ntBases[i])
	}
	ADDQ(Imm(uint64(16*quads)), ptrA)
	if rows > 4 {
		ADDQ(Imm(uint64(16*quads)), ptrA4)
	}
	DECQ(count)
	JNZ(LabelRef(name))
	Label(name + "end")
}

// ntAsk asks for part i of n of so many lines, into the second cache: the first would lose what is in use.
func (v gemmISA) ntAsk(i, n, lines int) {
	for d := lines * i / n; d < lines*(i+1)/n; d++ {
		PREFETCHT1(Mem{Base: ntNext, Disp: 64 * d})
	}
}

// ntPointers sets the registers that walk; the argument's is the last, and from then on that of what the next tile reads.
func (v gemmISA) ntPointers(rows, groups int) {
	MOVQ(field(offNtA), ptrA)
	MOVQ(field(offNtRSA), rsa)
	MOVQ(field(offNtB), ntBases[0])
	MOVQ(field(offNtRSB), ntRSB)
	MOVQ(field(offNtQuads), count)
	SHRQ(Imm(2), count)
	LEAQ(Mem{Base: rsa, Index: rsa, Scale: 2}, rsa3)
	LEAQ(Mem{Base: ptrA, Index: rsa, Scale: 4}, ptrA4)
	LEAQ(Mem{Base: ntRSB, Index: ntRSB, Scale: 2}, ntRSB3)
	LEAQ(Mem{Base: ntRSB, Index: ntRSB, Scale: 4}, ntRSB5)
	LEAQ(Mem{Base: ntRSB5, Index: ntRSB, Scale: 2}, ntRSB7)
	bases := ntBases[:groups*2]
	for i := 1; i < len(bases); i++ {
		LEAQ(Mem{Base: bases[i-1], Index: ntRSB, Scale: 8}, bases[i])
	}
	LEAQ(Mem{Base: bases[len(bases)-1], Index: ntRSB, Scale: 8}, ntNext)
}

// ntRow is the address of row i of B, disp bytes from the pointers.
func ntRow(i, disp int) Mem {
	m := Mem{Base: ntBases[i/8], Disp: disp}
	switch i % 8 {
	case 1, 2, 4:
		m.Index, m.Scale = ntRSB, uint8(i%8)
	case 3, 6:
		m.Index, m.Scale = ntRSB3, uint8(i%8/3)
	case 5:
		m.Index, m.Scale = ntRSB5, 1
	case 7:
		m.Index, m.Scale = ntRSB7, 1
	}
	return m
}

// ntMultiply adds the products of four columns of B with A's elements disp bytes from the pointers; AVX2 lets those pass through other registers.
func (v gemmISA) ntMultiply(rows, i, disp int, acc func(r, i int) VecPhysical, columns, pass []VecPhysical) {
	for q := range 4 {
		for r := range rows {
			m := rowOfA(r)
			m.Disp = disp + 4*q
			if v.bytes == 64 {
				VFMADD231PS_BCST(m, columns[q], acc(r, i))
				continue
			}
			x := pass[r%len(pass)]
			VBROADCASTSS(m, x)
			VFMADD231PS(columns[q], x, acc(r, i))
		}
	}
}
