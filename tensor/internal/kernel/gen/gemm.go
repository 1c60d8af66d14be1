package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// gemm writes the tile kernels of matrix products, what packs and transposes their operands, and the loops that measure the machine.
func gemm() {
	for _, v := range []gemmISA{gemmAVX512, gemmAVX2} {
		tiles(v)
		pack(v)
		transpose(v)
		ntTile(v)
		row(v)
		peak(v)
	}
	read()
}

// gemmISA is an instruction set: its registers and the shapes of its tiles.
type gemmISA struct {
	name  string
	bytes int // of a register
	regs  []VecPhysical
	rows  int         // of the largest tile
	pairs bool        // operands are pairs of bf16, see bf16.go
	wide  map[int]int // vectors of a tile of few rows (decoding): enough accumulators to hide the latency of a multiply-add
}

var (
	gemmAVX512 = gemmISA{"AVX512", 64, []VecPhysical{Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z8, Z9, Z10, Z11, Z12, Z13, Z14, Z15,
		Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z23, Z24, Z25, Z26, Z27, Z28, Z29, Z30, Z31}, 8, false, map[int]int{1: 12, 2: 12, 3: 8, 4: 6}}
	gemmAVX2 = gemmISA{"AVX2", 32, []VecPhysical{Y0, Y1, Y2, Y3, Y4, Y5, Y6, Y7, Y8, Y9, Y10, Y11, Y12, Y13, Y14, Y15},
		4, false, map[int]int{1: 8, 2: 6}}
)

func (v gemmISA) zero(r VecPhysical) {
	if v.bytes == 64 {
		VPXORD(r, r, r)
	} else {
		VXORPS(r, r, r)
	}
}

// multiplyAdd adds the products of x and y to acc.
func (v gemmISA) multiplyAdd(x, y, acc VecPhysical) {
	if v.pairs {
		vdpbf16ps(x, y, acc)
	} else {
		VFMADD231PS(x, y, acc)
	}
}

// Registers of a tile kernel. The fields of kernel.tile are read through argT.
var (
	argT, left     = RAX, R13 // the argument, rows that remain
	ptrA, ptrA4    = RSI, RDI // rows 0 and 4 of the tile
	rsa, rsa3, csa = R8, R9, R10
	ptrB, rsb      = RBX, R11
	ptrC, rsc      = RDX, R12
	count, walk    = RCX, R14 // steps of K that remain, a walk through C
	ahead          = R15      // bytes from the row of B in use to the one to prefetch
)

// Offsets of the fields of kernel.tile, which gemm_amd64.go declares in this order.
const (
	offA = 8 * iota
	offB
	offC
	offRSA
	offCSA
	offATS
	offRSB
	offRSC
	offRows
	offK
	offShape
	offAcc
	offAhead
	offBits
	offMask
)

// Values of kernel.tile.shape beside the number of vectors 1, 2, 3 (the last one masked).
const (
	shapeFull = 4 // 3 vectors, all lanes
	shapeWide = 5 // as many vectors as gemmISA.wide gives for these rows, all lanes
)

func field(off int) Mem { return Mem{Base: argT, Disp: off} }

// tiles writes func tileX(t *byte), where t is a kernel.tile: C[rows][vecs*lanes] (+)= A B in tiles of v.rows rows and what remains, every
// output in one register as one chain of fused multiply-adds over ascending k that starts from C or from zero.
func tiles(v gemmISA) {
	TEXT("tile"+v.name, NOSPLIT, "func(t *byte)")
	Doc("tile" + v.name + " computes t.rows rows of C in tiles of registers; it moves t.a.")
	Pragma("noescape")
	Load(Param("t"), argT)
	for _, f := range []struct {
		off int
		r   GPPhysical
	}{{offC, ptrC}, {offRSA, rsa}, {offCSA, csa}, {offRSB, rsb}, {offRSC, rsc}, {offRows, left}} {
		MOVQ(field(f.off), f.r)
	}
	LEAQ(Mem{Base: rsa, Index: rsa, Scale: 2}, rsa3)
	MOVQ(field(offAhead), ahead)
	if v.bytes == 64 {
		MOVQ(field(offBits), walk)
		KMOVW(walk.As32(), K1)
	}
	Label("next")
	MOVQ(field(offA), ptrA)
	MOVQ(field(offB), ptrB)
	MOVQ(field(offK), count)
	LEAQ(Mem{Base: ptrA, Index: rsa, Scale: 4}, ptrA4)
	MOVQ(field(offShape), walk)
	for _, shape := range []int{shapeFull, shapeWide, 3, 2} {
		CMPQ(walk, Imm(uint64(shape)))
		JEQ(LabelRef(fmt.Sprintf("shape%d", shape)))
	}
	byRows(v, 1, func(int) int { return 1 })
	Label("shape2")
	byRows(v, 2, func(int) int { return 2 })
	Label("shape4")
	CMPQ(left, Imm(uint64(v.rows)))
	JGE(LabelRef("full"))
	Label("shape3")
	byRows(v, 3, func(int) int { return 3 })
	Label("shape5")
	byRows(v, shapeWide, func(rows int) int { return v.wide[rows] })
	Label("full")
	oneTile(v, "full", v.rows, 3, false)
	Label("done")
	VZEROUPPER()
	RET()
}

// byRows writes the tiles of one shape for every number of rows and the choice among them.
func byRows(v gemmISA, shape int, vecs func(rows int) int) {
	name := func(rows int) string { return fmt.Sprintf("s%dr%d", shape, rows) }
	for rows := v.rows; rows > 1; rows-- {
		if vecs(rows) > 0 {
			CMPQ(left, Imm(uint64(rows)))
			JGE(LabelRef(name(rows)))
		}
	}
	for rows := 1; rows <= v.rows; rows++ {
		if n := vecs(rows); n > 0 {
			Label(name(rows))
			oneTile(v, name(rows), rows, n, shape != shapeWide)
		}
	}
}

// oneTile writes one tile, which then goes to the next rows or ends.
func oneTile(v gemmISA, name string, rows, vecs int, masked bool) {
	acc := func(r, i int) VecPhysical { return v.regs[r*vecs+i] }
	free := v.regs[rows*vecs:]
	each := func(do func(m Mem, r VecPhysical, masked bool)) {
		MOVQ(ptrC, walk)
		for r := range rows {
			for i := range vecs {
				do(Mem{Base: walk, Disp: i * v.bytes}, acc(r, i), masked && i == vecs-1)
			}
			ADDQ(rsc, walk)
		}
	}
	CMPQ(field(offAcc), Imm(0))
	JEQ(LabelRef(name + "zero"))
	each(func(m Mem, r VecPhysical, masked bool) { v.load(m, r, free[0], masked) })
	JMP(LabelRef(name + "start"))
	Label(name + "zero")
	for r := range rows {
		for i := range vecs {
			v.zero(acc(r, i))
		}
	}
	Label(name + "start")
	if name == "full" {
		prefetchNextC(v, rows, vecs)
	}
	if vecs > 3 {
		wideLoop(v, name, rows, vecs, acc, free)
	} else {
		narrowLoop(v, name, rows, vecs, masked, acc, free)
	}
	each(func(m Mem, r VecPhysical, masked bool) { v.store(r, m, free[0], masked) })
	SUBQ(Imm(uint64(rows)), left)
	JLE(LabelRef("done"))
	MOVQ(walk, ptrC)
	MOVQ(field(offATS), walk)
	ADDQ(walk, field(offA))
	JMP(LabelRef("next"))
}

// load moves a vector, under the mask of the last lanes if asked. AVX2 reads its mask each time: no register is left for it.
func (v gemmISA) load(m Mem, r, tmp VecPhysical, masked bool) {
	switch {
	case !masked:
		VMOVUPS(m, r)
	case v.bytes == 64:
		VMOVUPS_Z(m, K1, r)
	default:
		VMOVUPS(field(offMask), tmp)
		VMASKMOVPS(m, tmp, r)
	}
}

func (v gemmISA) store(r VecPhysical, m Mem, tmp VecPhysical, masked bool) {
	switch {
	case !masked:
		VMOVUPS(r, m)
	case v.bytes == 64:
		VMOVUPS(r, K1, m)
	default:
		VMOVUPS(field(offMask), tmp)
		VMASKMOVPS(r, tmp, m)
	}
}

// prefetchNextC asks for the lines of C that the next tile starts from, so that it does not wait for them.
func prefetchNextC(v gemmISA, rows, vecs int) {
	LEAQ(Mem{Base: ptrC, Index: rsc, Scale: uint8(rows)}, walk)
	for range rows {
		for d := 0; d < vecs*v.bytes; d += 64 {
			PREFETCHT0(Mem{Base: walk, Disp: d})
		}
		ADDQ(rsc, walk)
	}
}

// rowOfA is the address of A's element in row r of the tile and the current step of K.
func rowOfA(r int) Mem {
	base := ptrA
	if r >= 4 {
		base = ptrA4
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

// narrowLoop is the inner loop of tiles with few vectors: a row of B stays in registers, elements of A pass through. What lies t.ahead bytes
// further on is asked for.
func narrowLoop(v gemmISA, name string, rows, vecs int, masked bool, acc func(r, i int) VecPhysical, free []VecPhysical) {
	row, pass := free[:vecs], free[vecs:]
	TESTQ(count, count)
	JZ(LabelRef(name + "end"))
	Label(name + "loop")
	for i := range vecs {
		v.load(Mem{Base: ptrB, Disp: i * v.bytes}, row[i], pass[0], masked && i == vecs-1)
	}
	for d := 0; d < vecs*v.bytes; d += 64 {
		PREFETCHT1(Mem{Base: ptrB, Index: ahead, Scale: 1, Disp: d})
	}
	ADDQ(rsb, ptrB)
	for r := range rows {
		x := pass[r%min(len(pass), 5)]
		VBROADCASTSS(rowOfA(r), x)
		for i := range vecs {
			v.multiplyAdd(row[i], x, acc(r, i))
		}
	}
	nextK(name, rows)
}

// wideLoop is the inner loop of tiles with few rows: A stays in registers, a row of B passes through, and what lies t.ahead bytes further on, on
// another page where no hardware looks ahead, is asked for: into the second cache, which can wait for more lines at a time than the first.
func wideLoop(v gemmISA, name string, rows, vecs int, acc func(r, i int) VecPhysical, free []VecPhysical) {
	column, pass := free[:rows], free[rows:]
	TESTQ(count, count)
	JZ(LabelRef(name + "end"))
	Label(name + "loop")
	for r := range rows {
		VBROADCASTSS(rowOfA(r), column[r])
	}
	for i := range vecs {
		if at := i * v.bytes; at%64 == 0 {
			PREFETCHT1(Mem{Base: ptrB, Index: ahead, Scale: 1, Disp: at})
		}
		m := Mem{Base: ptrB, Disp: i * v.bytes}
		if rows == 1 && !v.pairs {
			VFMADD231PS(m, column[0], acc(0, i))
			continue
		}
		x := pass[i%len(pass)]
		VMOVUPS(m, x)
		for r := range rows {
			v.multiplyAdd(x, column[r], acc(r, i))
		}
	}
	ADDQ(rsb, ptrB)
	nextK(name, rows)
}

func nextK(name string, rows int) {
	ADDQ(csa, ptrA)
	if rows > 4 {
		ADDQ(csa, ptrA4)
	}
	DECQ(count)
	JNZ(LabelRef(name + "loop"))
	Label(name + "end")
}
