// Package machine tells what this machine offers: processor and memory.
package machine

import (
	"golang.org/x/sys/cpu"
)

// Memory is what a machine has, in bytes; 0 = the system does not tell.
type Memory struct {
	Total int64
	Free  int64 // what programs can still take without swapping; of a control group, if that is less
	Swap  int64 // free swap
}

// Features lists the instruction sets that kernels use or could use, by their usual names.
func Features() []string {
	var out []string
	for _, f := range []struct {
		has  bool
		name string
	}{
		{cpu.X86.HasAVX2, "avx2"}, {cpu.X86.HasFMA, "fma"},
		{cpu.X86.HasAVX512F, "avx512f"}, {cpu.X86.HasAVX512BW, "avx512bw"}, {cpu.X86.HasAVX512DQ, "avx512dq"}, {cpu.X86.HasAVX512VL, "avx512vl"}, {cpu.X86.HasAVX512BF16, "avx512_bf16"},
		{cpu.ARM64.HasASIMD, "neon"}, {cpu.ARM64.HasSVE, "sve"},
	} {
		if f.has {
			out = append(out, f.name)
		}
	}
	return out
}
