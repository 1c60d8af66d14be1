//go:build amd64 && !purego

package kernel

import "golang.org/x/sys/cpu"

// detect returns the assembly that this CPU can run, best first.
func detect() []*ops {
	var found []*ops
	if cpu.X86.HasAVX512F && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512VL && cpu.X86.HasFMA {
		avx512Ops.bf16 = cpu.X86.HasAVX512BF16 && cpu.X86.HasBMI2
		found = append(found, &avx512Ops)
	}
	if cpu.X86.HasAVX2 && cpu.X86.HasFMA && cpu.X86.HasF16C {
		found = append(found, &avx2Ops)
	}
	return found
}
