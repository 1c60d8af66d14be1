// Package machine tells what this computer is and what the program has used of it.
package machine

import (
	"golang.org/x/sys/cpu"
)

// CPUFeatures lists the instruction sets that kernels use or could use, by their usual names.
func CPUFeatures() []string {
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
