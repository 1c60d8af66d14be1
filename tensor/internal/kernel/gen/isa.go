package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

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
