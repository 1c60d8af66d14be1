package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// pack writes func packX(k int, src *float32, lds int, dst *float32): k rows of 48 floats made contiguous.
func pack(v gemmISA) {
	TEXT("pack"+v.name, NOSPLIT, "func(k int, src *float32, lds int, dst *float32)")
	Doc("pack" + v.name + " copies k rows of 48 floats, lds bytes apart, to contiguous memory.")
	Pragma("noescape")
	Load(Param("k"), RCX)
	Load(Param("src"), RSI)
	Load(Param("lds"), R8)
	Load(Param("dst"), RDI)
	MOVQ(R8, R9)
	SHLQ(Imm(4), R9)
	Label("loop")
	for d := 0; d < 192; d += 64 {
		PREFETCHT1(Mem{Base: RSI, Index: R9, Scale: 1, Disp: d})
	}
	n := 192 / v.bytes
	for i := range n {
		VMOVUPS(Mem{Base: RSI, Disp: i * v.bytes}, v.regs[i])
	}
	for i := range n {
		VMOVUPS(v.regs[i], Mem{Base: RDI, Disp: i * v.bytes})
	}
	ADDQ(R8, RSI)
	ADDQ(U32(192), RDI)
	DECQ(RCX)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// transpose writes func transposeX(blocks int, src *float32, lds int, dst *float32, ldd int): as many rows of src as a register has lanes,
// blocks times as many columns. A register takes four neighbours from rows i, i+4, ..., so that four registers hold 4 x 4 matrices in their
// 128-bit lanes; transposing those gives whole rows of dst.
func transpose(v gemmISA) {
	TEXT("transpose"+v.name, NOSPLIT, "func(blocks int, src *float32, lds int, dst *float32, ldd int)")
	Doc("transpose" + v.name + " transposes square blocks of one register's width that lie side by side in src; strides are in bytes.")
	Pragma("noescape")
	Load(Param("blocks"), RCX)
	Load(Param("src"), RSI)
	Load(Param("lds"), R8)
	Load(Param("dst"), RDI)
	Load(Param("ldd"), R12)
	lanes := v.bytes / 4
	LEAQ(Mem{Base: R8, Index: R8, Scale: 2}, R9)
	bases := []GPPhysical{RSI, RBX, R10, R11}[:lanes/4]
	for i := 1; i < len(bases); i++ {
		LEAQ(Mem{Base: bases[i-1], Index: R8, Scale: 4}, bases[i])
	}
	row := func(i, disp int) Mem {
		m := Mem{Base: bases[i/4], Disp: disp}
		switch i % 4 {
		case 1:
			m.Index, m.Scale = R8, 1
		case 2:
			m.Index, m.Scale = R8, 2
		case 3:
			m.Index, m.Scale = R9, 1
		}
		return m
	}
	Label("loop")
	for q := range lanes / 4 {
		in, mid := v.regs[8*(q%2):8*(q%2)+4], v.regs[8*(q%2)+4:8*(q%2)+8]
		v.square(in, mid, func(i int) Mem { return row(i, 16*q) })
		for i := range 4 {
			VMOVUPS(in[i], Mem{Base: RDI})
			ADDQ(R12, RDI)
		}
	}
	for _, r := range bases {
		ADDQ(Imm(uint64(v.bytes)), r)
	}
	DECQ(RCX)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// square transposes four columns of as many rows as a register has lanes: in becomes the columns, mid is scratch.
func (v gemmISA) square(in, mid []VecPhysical, row func(i int) Mem) {
	for i := range 4 {
		gather(v, in[i], func(lane int) Mem { return row(i + 4*lane) })
	}
	unpack(in, mid)
}

// unpack transposes the 4 x 4 matrices in the 128-bit lanes of in.
func unpack(in, mid []VecPhysical) {
	VUNPCKLPS(in[1], in[0], mid[0])
	VUNPCKHPS(in[1], in[0], mid[1])
	VUNPCKLPS(in[3], in[2], mid[2])
	VUNPCKHPS(in[3], in[2], mid[3])
	VUNPCKLPD(mid[2], mid[0], in[0])
	VUNPCKHPD(mid[2], mid[0], in[1])
	VUNPCKLPD(mid[3], mid[1], in[2])
	VUNPCKHPD(mid[3], mid[1], in[3])
}

// gather fills the 128-bit lanes of r.
func gather(v gemmISA, r VecPhysical, lane func(int) Mem) {
	VMOVUPS(lane(0), r.AsX())
	if v.bytes == 32 {
		VINSERTF128(Imm(1), lane(1), r, r)
		return
	}
	for i := 1; i < 4; i++ {
		VINSERTF32X4(Imm(uint64(i)), lane(i), r, r)
	}
}

// peakChains is the number of independent chains in peak, more than latency times throughput of any processor's multiply-add.
const peakChains = 12

// peak writes func peakX(rounds int): what a processor can do at most.
func peak(v gemmISA) {
	TEXT("peak"+v.name, NOSPLIT, "func(rounds int)")
	Doc("peak" + v.name + " runs rounds of 12 independent fused multiply-adds on registers.")
	Load(Param("rounds"), RCX)
	x, acc := v.regs[0], v.regs[1:1+peakChains]
	v.zero(x)
	for _, r := range acc {
		v.zero(r)
	}
	Label("loop")
	for _, r := range acc {
		VFMADD231PS(x, x, r)
	}
	DECQ(RCX)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// read writes func readAVX2(blocks int, src *float32): loads and nothing else, to measure memory.
func read() {
	TEXT("readAVX2", NOSPLIT, "func(blocks int, src *float32)")
	Doc("readAVX2 reads blocks of 256 bytes.")
	Pragma("noescape")
	Load(Param("blocks"), RCX)
	Load(Param("src"), RSI)
	Label("loop")
	for i := range 8 {
		VMOVUPS(Mem{Base: RSI, Disp: 32 * i}, gemmAVX2.regs[i])
	}
	ADDQ(U32(256), RSI)
	DECQ(RCX)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}
