package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// Offsets of the fields of kernel.attnLanes, which attn_amd64.go declares in this order.
const (
	offLaneA    = 0
	offLaneC    = 8
	offLaneCorr = 16
	offLaneB    = 24 // four
	offLaneRA   = 56
	offLaneRC   = 64
	offLaneLDB  = 72
	offLaneK    = 80
	offLaneN    = 88
	offLaneMode = 96
	offLaneNext = 104
)

// Registers of the lanes kernels.
var (
	laneB            = []GPPhysical{RBX, RDX, R10, R11}
	laneA            = RSI
	laneRA, laneRA3  = R8, R9
	laneLDB          = R12
	laneAt, laneNext = R13, R14 // bytes from a lane's B to the row in use, and to the line to ask for
)

// lanes writes func attnLanes32X and attnLanes16X(t *byte), where t is a kernel.attnLanes: C[lane][cols] = A[lane][k] B[lane][k][cols] by the chains
// of product, for up to four rows of A each with a B of its own. One row alone has too few chains to fill the time that an addition takes.
func lanes(v gemmISA, cols int) {
	TEXT(fmt.Sprintf("attnLanes%d%s", cols, v.name), NOSPLIT, "func(t *byte)")
	Pragma("noescape")
	Load(Param("t"), argT)
	for _, f := range []struct {
		off int
		r   GPPhysical
	}{{offLaneA, laneA}, {offLaneRA, laneRA}, {offLaneLDB, laneLDB}, {offLaneK, count}, {offLaneNext, laneNext}} {
		MOVQ(field(f.off), f.r)
	}
	LEAQ(Mem{Base: laneRA, Index: laneRA, Scale: 2}, laneRA3)
	XORQ(laneAt, laneAt)
	vecs := cols * 4 / v.bytes
	most := min(4, 8/vecs) // lanes: 8 chains
	for n := most; n >= 1; n /= 2 {
		if n > 1 {
			CMPQ(field(offLaneN), Imm(uint64(n)))
			JL(LabelRef(fmt.Sprintf("below%d", n)))
		}
		v.someLanes(fmt.Sprintf("lanes%d", n), n, vecs)
		JMP(LabelRef("done"))
		if n > 1 {
			Label(fmt.Sprintf("below%d", n))
		}
	}
	Label("done")
	VZEROUPPER()
	RET()
}

// someLanes writes the product of n lanes.
func (v gemmISA) someLanes(name string, n, vecs int) {
	acc := func(i, x int) VecPhysical { return v.regs[i*vecs+x] }
	free := v.regs[n*vecs:]
	each := func(do func(i, x int, m Mem)) {
		MOVQ(field(offLaneC), RDI)
		MOVQ(field(offLaneRC), R15)
		for i := range n {
			for x := range vecs {
				do(i, x, Mem{Base: RDI, Disp: x * v.bytes})
			}
			ADDQ(R15, RDI)
		}
	}
	for i := range n {
		for x := range vecs {
			v.zero(acc(i, x))
		}
	}
	CMPQ(field(offLaneMode), Imm(0))
	JEQ(LabelRef(name + "begin"))
	each(func(i, x int, m Mem) { VMOVUPS(m, acc(i, x)) })
	CMPQ(field(offLaneMode), Imm(2))
	JNE(LabelRef(name + "begin"))
	MOVQ(field(offLaneCorr), RDI)
	for i := range n {
		VBROADCASTSS(Mem{Base: RDI, Disp: 4 * i}, free[i])
		for x := range vecs {
			VMULPS(free[i], acc(i, x), acc(i, x))
		}
	}
	Label(name + "begin")
	for i := range n {
		MOVQ(field(offLaneB+8*i), laneB[i])
	}
	Label(name)
	for i := range n {
		VBROADCASTSS([]Mem{{Base: laneA}, {Base: laneA, Index: laneRA, Scale: 1}, {Base: laneA, Index: laneRA, Scale: 2}, {Base: laneA, Index: laneRA3, Scale: 1}}[i], free[i])
		for x := range vecs {
			VFMADD231PS(Mem{Base: laneB[i], Index: laneAt, Scale: 1, Disp: x * v.bytes}, free[i], acc(i, x))
		}
		for d := 0; d < vecs*v.bytes; d += 64 {
			PREFETCHT1(Mem{Base: laneB[i], Index: laneNext, Scale: 1, Disp: d})
		}
	}
	ADDQ(Imm(4), laneA)
	ADDQ(laneLDB, laneAt)
	ADDQ(laneLDB, laneNext)
	DECQ(count)
	JNZ(LabelRef(name))
	each(func(i, x int, m Mem) { VMOVUPS(acc(i, x), m) })
}
