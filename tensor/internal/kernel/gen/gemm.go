package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// gemm writes the tile kernels, one for each number of rows and vectors, the transposition of 16 x 16 floats, and the loops that measure the
// machine. All accumulators live in registers; an output is one chain of fused multiply-adds with K ascending, started from C when acc is set.
func gemm() {
	iota8 = GLOBL("iota8", RODATA|NOPTR)
	for i := range 8 {
		DATA(i*4, U32(i))
	}
	for rows := 1; rows <= 8; rows++ {
		for vecs := 1; vecs <= 3; vecs++ {
			tile(avx512, rows, vecs, true)
		}
	}
	for rows := 1; rows <= 4; rows++ {
		for vecs := 1; vecs <= 3; vecs++ {
			tile(avx2, rows, vecs, false)
		}
		tile(avx2, rows, 1, true)
	}
	transpose16()
	peak(avx512)
	peak(avx2)
}

// isa is one instruction set: the width of a register in bytes.
type isa struct {
	name  string
	bytes int
}

var (
	avx512 = isa{"AVX512", 64}
	avx2   = isa{"AVX2", 32}
)

func (v isa) reg() reg.VecVirtual {
	if v.bytes == 64 {
		return ZMM()
	}
	return YMM()
}

func (v isa) zero(r reg.VecVirtual) {
	if v.bytes == 64 {
		VPXORD(r, r, r)
	} else {
		VXORPS(r, r, r)
	}
}

func (v isa) load(at Mem, r reg.VecVirtual, masked bool, mask reg.Register) {
	switch {
	case !masked:
		VMOVUPS(at, r)
	case v.bytes == 64:
		VMOVUPS_Z(at, mask, r)
	default:
		VMASKMOVPS(at, mask, r)
	}
}

func (v isa) store(r reg.VecVirtual, at Mem, masked bool, mask reg.Register) {
	switch {
	case !masked:
		VMOVUPS(r, at)
	case v.bytes == 64:
		VMOVUPS(r, mask, at)
	default:
		VMASKMOVPS(r, mask, at)
	}
}

var iota8 Mem

// loadMask turns the parameter mask into a mask register: bits on AVX-512, a count of lanes on AVX2.
func loadMask(v isa) reg.Register {
	m := Load(Param("mask"), GP64()).(reg.GPVirtual).As32()
	if v.bytes == 64 {
		k := K()
		KMOVW(m, k)
		return k
	}
	x, y, mask := XMM(), YMM(), YMM()
	VMOVD(m, x)
	VPBROADCASTD(x, y)
	VPCMPGTD(iota8, y, mask)
	return mask
}

// tile: func tileRxV(k int, a *float32, rsa, csa int, b *float32, ldb int, c *float32, ldc, acc, mask int), strides in bytes.
// With a mask only some lanes of the last vector exist: mask holds one bit a lane on AVX-512, the number of lanes on AVX2.
func tile(v isa, rows, vecs int, hasMask bool) {
	name := fmt.Sprintf("tile%dx%d%s", rows, vecs, v.name)
	if hasMask && v.bytes == 32 {
		name = fmt.Sprintf("tile%dx%d%sMasked", rows, vecs, v.name)
	}
	TEXT(name, NOSPLIT, "func(k int, a *float32, rsa, csa int, b *float32, ldb int, c *float32, ldc, acc, mask int)")
	Pragma("noescape")
	k, a, rsa, csa := Load(Param("k"), GP64()), Load(Param("a"), GP64()), Load(Param("rsa"), GP64()), Load(Param("csa"), GP64())
	b, ldb, c, ldc := Load(Param("b"), GP64()), Load(Param("ldb"), GP64()), Load(Param("c"), GP64()), Load(Param("ldc"), GP64())
	acc := Load(Param("acc"), GP64())
	masked := func(vec int) bool { return hasMask && vec == vecs-1 }
	var mask reg.Register
	if hasMask {
		mask = loadMask(v)
	}
	sum := make([][]reg.VecVirtual, rows)
	for r := range sum {
		sum[r] = make([]reg.VecVirtual, vecs)
		for i := range sum[r] {
			sum[r][i] = v.reg()
			v.zero(sum[r][i])
		}
	}
	// Row addresses: a + r*rsa for r < 4 from a with rsa and 3*rsa, from a + 4*rsa for the rest.
	rsa3, a4 := GP64(), GP64()
	LEAQ(Mem{Base: rsa, Index: rsa, Scale: 2}, rsa3)
	LEAQ(Mem{Base: a, Index: rsa, Scale: 4}, a4)
	at := func(r int) Mem {
		base := a
		if r >= 4 {
			base = a4
		}
		switch r % 4 {
		case 1:
			return Mem{Base: base, Index: rsa, Scale: 1}
		case 2:
			return Mem{Base: base, Index: rsa, Scale: 2}
		case 3:
			return Mem{Base: base, Index: rsa3, Scale: 1}
		}
		return Mem{Base: base}
	}
	eachC := func(do func(at Mem, r reg.VecVirtual, masked bool)) {
		p := GP64()
		MOVQ(c, p)
		for r := range sum {
			for i := range sum[r] {
				do(Mem{Base: p, Disp: i * v.bytes}, sum[r][i], masked(i))
			}
			if r < rows-1 {
				ADDQ(ldc, p)
			}
		}
	}
	TESTQ(acc, acc)
	JZ(LabelRef("start"))
	eachC(func(at Mem, r reg.VecVirtual, masked bool) {
		v.load(at, r, masked, mask)
	})
	Label("start")
	TESTQ(k, k)
	JZ(LabelRef("done"))
	Label("loop")
	row := make([]reg.VecVirtual, vecs)
	for i := range row {
		row[i] = v.reg()
		v.load(Mem{Base: b, Disp: i * v.bytes}, row[i], masked(i), mask)
	}
	ADDQ(ldb, b)
	for r := range sum {
		x := v.reg()
		VBROADCASTSS(at(r), x)
		for i := range row {
			VFMADD231PS(row[i], x, sum[r][i])
		}
	}
	ADDQ(csa, a)
	ADDQ(csa, a4)
	DECQ(k)
	JNZ(LabelRef("loop"))
	Label("done")
	eachC(func(at Mem, r reg.VecVirtual, masked bool) {
		v.store(r, at, masked, mask)
	})
	VZEROUPPER()
	RET()
}

// transpose16 transposes 16 x 16 floats in registers: pairs, quads, then 128-bit lanes.
func transpose16() {
	TEXT("transpose16AVX512", NOSPLIT, "func(src *float32, lds int, dst *float32, ldd int)")
	Pragma("noescape")
	src, lds := Load(Param("src"), GP64()), Load(Param("lds"), GP64())
	dst, ldd := Load(Param("dst"), GP64()), Load(Param("ldd"), GP64())
	z := func(i int) reg.VecPhysical {
		return []reg.VecPhysical{reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7, reg.Z8, reg.Z9, reg.Z10, reg.Z11, reg.Z12, reg.Z13, reg.Z14, reg.Z15,
			reg.Z16, reg.Z17, reg.Z18, reg.Z19, reg.Z20, reg.Z21, reg.Z22, reg.Z23, reg.Z24, reg.Z25, reg.Z26, reg.Z27, reg.Z28, reg.Z29, reg.Z30, reg.Z31}[i]
	}
	for i := range 16 {
		VMOVUPS(Mem{Base: src}, z(i))
		if i < 15 {
			ADDQ(lds, src)
		}
	}
	for i := range 8 {
		VUNPCKLPS(z(2*i+1), z(2*i), z(16+2*i))
		VUNPCKHPS(z(2*i+1), z(2*i), z(17+2*i))
	}
	for g := range 4 {
		t := 16 + 4*g
		VUNPCKLPD(z(t+2), z(t), z(4*g))
		VUNPCKHPD(z(t+2), z(t), z(4*g+1))
		VUNPCKLPD(z(t+3), z(t+1), z(4*g+2))
		VUNPCKHPD(z(t+3), z(t+1), z(4*g+3))
	}
	for j := range 4 {
		VSHUFF32X4(Imm(0x88), z(4+j), z(j), z(16+j))
		VSHUFF32X4(Imm(0x88), z(12+j), z(8+j), z(20+j))
		VSHUFF32X4(Imm(0xdd), z(4+j), z(j), z(24+j))
		VSHUFF32X4(Imm(0xdd), z(12+j), z(8+j), z(28+j))
	}
	for j := range 4 {
		VSHUFF32X4(Imm(0x88), z(20+j), z(16+j), z(j))
		VSHUFF32X4(Imm(0xdd), z(20+j), z(16+j), z(8+j))
		VSHUFF32X4(Imm(0x88), z(28+j), z(24+j), z(4+j))
		VSHUFF32X4(Imm(0xdd), z(28+j), z(24+j), z(12+j))
	}
	for i := range 16 {
		VMOVUPS(z(i), Mem{Base: dst})
		if i < 15 {
			ADDQ(ldd, dst)
		}
	}
	VZEROUPPER()
	RET()
}

// peak: func peakX(n int) runs n rounds of 12 independent fused multiply-adds on registers.
func peak(v isa) {
	TEXT("peak"+v.name, NOSPLIT, "func(n int)")
	n := Load(Param("n"), GP64())
	var acc [12]reg.VecVirtual
	x, y := v.reg(), v.reg()
	v.zero(x)
	v.zero(y)
	for i := range acc {
		acc[i] = v.reg()
		v.zero(acc[i])
	}
	Label("loop")
	for i := range acc {
		VFMADD231PS(x, y, acc[i])
	}
	DECQ(n)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}
