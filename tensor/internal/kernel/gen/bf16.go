package main

import (
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// bf16 writes the kernels of products of bfloat16. A pair of neighbours along k is one 32-bit element, so that the tiles are those of float32
// with another multiply-add.
func bf16() {
	tiles(gemmBF16)
	roundBF16()
	interleaveBF16("interleaveBF16", 1)
	interleaveBF16("interleavePanelBF16", 3)
	peak(gemmBF16)
}

var gemmBF16 = gemmISA{"BF16", 64, gemmAVX512.regs, 8, true, map[int]int{}}

// Neither avo nor Go's assembler knows AVX512_BF16: evex emits one of its instructions on 512-bit registers, dst = f(y, x), where pp is the
// prefix 2 (F3) or 3 (F2).
func evex(pp, opcode uint32, x, y, dst VecPhysical) {
	number := func(r VecPhysical) uint32 { return uint32(r.PhysicalIndex()) }
	not := func(r VecPhysical, bit int) uint32 { return ^number(r) >> bit & 1 }
	p0 := not(dst, 3)<<7 | not(x, 4)<<6 | not(x, 3)<<5 | not(dst, 4)<<4 | 2
	p1 := ^number(y)&15<<3 | 4 | pp
	p2 := uint32(2<<5) | not(y, 4)<<3
	modrm := 0xC0 | number(dst)&7<<3 | number(x)&7
	Instruction(&ir.Instruction{Opcode: "LONG", Operands: []Op{U32(p2<<24 | p1<<16 | p0<<8 | 0x62)}})
	Instruction(&ir.Instruction{Opcode: "WORD", Operands: []Op{U16(modrm<<8 | opcode)}})
}

// vdpbf16ps adds to each float of acc the products of the two pairs of bf16 that stand there in x and y.
func vdpbf16ps(x, y, acc VecPhysical) {
	Commentf("VDPBF16PS %s, %s, %s", x.Asm(), y.Asm(), acc.Asm())
	evex(2, 0x52, x, y, acc)
}

// vcvtne2ps2bf16 rounds two registers of floats: low to the lower half of dst, high to the upper.
func vcvtne2ps2bf16(low, high, dst VecPhysical) {
	Commentf("VCVTNE2PS2BF16 %s, %s, %s", low.Asm(), high.Asm(), dst.Asm())
	evex(3, 0x72, low, high, dst)
}

// roundBF16 writes func roundBF16(n int, src *float32, dst *uint32): neighbours become pairs.
func roundBF16() {
	TEXT("roundBF16", NOSPLIT, "func(n int, src *float32, dst *uint32)")
	Doc("roundBF16 rounds n floats to bf16 and writes (n+1)/2 pairs, the last filled up with zero.")
	Pragma("noescape")
	Load(Param("n"), RCX)
	Load(Param("src"), RSI)
	Load(Param("dst"), RDI)
	Label("loop")
	CMPQ(RCX, Imm(32))
	JL(LabelRef("tail"))
	VMOVUPS(Mem{Base: RSI}, Z0)
	VMOVUPS(Mem{Base: RSI, Disp: 64}, Z1)
	vcvtne2ps2bf16(Z0, Z1, Z2)
	VMOVUPS(Z2, Mem{Base: RDI})
	ADDQ(Imm(128), RSI)
	ADDQ(Imm(64), RDI)
	SUBQ(Imm(32), RCX)
	JMP(LabelRef("loop"))
	Label("tail")
	TESTQ(RCX, RCX)
	JZ(LabelRef("end"))
	MOVQ(I64(-1), RAX)
	BZHIQ(RCX, RAX, RBX) // a bit for each float that is left
	KMOVW(EBX, K1)
	SHRQ(Imm(16), RBX)
	KMOVW(EBX, K2)
	INCQ(RCX)
	SHRQ(Imm(1), RCX)
	BZHIQ(RCX, RAX, RBX)
	KMOVW(EBX, K3)
	VMOVUPS_Z(Mem{Base: RSI}, K1, Z0)
	VMOVUPS_Z(Mem{Base: RSI, Disp: 64}, K2, Z1)
	vcvtne2ps2bf16(Z0, Z1, Z2)
	VMOVUPS(Z2, K3, Mem{Base: RDI})
	Label("end")
	VZEROUPPER()
	RET()
}

// interleaveBF16 writes func NAME(k int, src *float32, lds int, dst *uint32, ldd, half int, bits uint64): columns of k rows become pairs of
// rows 2q and 2q+1. Eight columns lie together; half is the distance from eight to the next eight, so that dst may be rows of a panel or
// slices of A.
func interleaveBF16(name string, vecs int) {
	TEXT(name, NOSPLIT, "func(k int, src *float32, lds int, dst *uint32, ldd, half int, bits uint64)")
	Doc(name+" rounds k rows of columns to (k+1)/2 rows of pairs, the last filled up with zero. Strides are in bytes: lds between",
		"rows of src, ldd between rows of dst, half between eight columns of dst and the next. bits has a bit for each column of the last 16.")
	Pragma("noescape")
	for _, f := range []struct {
		name string
		r    GPPhysical
	}{{"k", RCX}, {"src", RSI}, {"lds", R8}, {"dst", RDI}, {"ldd", R9}, {"half", R10}, {"bits", RAX}} {
		Load(Param(f.name), f.r)
	}
	KMOVW(EAX, K1)
	MOVQ(R8, R11)
	SHLQ(Imm(4), R11)
	LEAQ(Mem{Base: R10, Index: R10, Scale: 2}, R12) // 3 half
	LEAQ(Mem{Base: RDI, Index: R12, Scale: 1}, R13)
	order := GLOBL("interleave_"+name, RODATA|NOPTR)
	for i := range 32 {
		DATA(2*i, U16(i/2+i%2*16))
	}
	VMOVUPS(order, Z0)
	low, high, out := gemmBF16.regs[1:1+vecs], gemmBF16.regs[8:8+vecs], gemmBF16.regs[16:16+vecs]
	load := func(disp int, r VecPhysical, m Mem) {
		m.Disp = disp
		if vecs == 1 {
			VMOVUPS_Z(m, K1, r)
		} else {
			VMOVUPS(m, r)
		}
	}
	store := func() {
		for i := range vecs {
			vcvtne2ps2bf16(low[i], high[i], out[i])
			VPERMW(out[i], Z0, out[i])
		}
		for i := range 2 * vecs {
			m := Mem{Base: RDI}
			if i >= 3 {
				m.Base = R13
			}
			if i%3 > 0 {
				m.Index, m.Scale = R10, uint8(i%3)
			}
			if i%2 == 0 {
				VMOVUPS(out[i/2].AsY(), m)
			} else {
				VEXTRACTF32X8(Imm(1), out[i/2], m)
			}
		}
	}
	Label("loop")
	CMPQ(RCX, Imm(2))
	JL(LabelRef("tail"))
	for i := range vecs {
		PREFETCHT0(Mem{Base: RSI, Index: R11, Scale: 1, Disp: 64 * i})
		load(64*i, low[i], Mem{Base: RSI})
	}
	for i := range vecs {
		load(64*i, high[i], Mem{Base: RSI, Index: R8, Scale: 1})
	}
	store()
	LEAQ(Mem{Base: RSI, Index: R8, Scale: 2}, RSI)
	ADDQ(R9, RDI)
	ADDQ(R9, R13)
	SUBQ(Imm(2), RCX)
	JMP(LabelRef("loop"))
	Label("tail")
	TESTQ(RCX, RCX)
	JZ(LabelRef("end"))
	for i := range vecs {
		load(64*i, low[i], Mem{Base: RSI})
		VPXORD(high[i], high[i], high[i])
	}
	store()
	Label("end")
	VZEROUPPER()
	RET()
}
