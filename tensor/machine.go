package tensor

import (
	"github.com/hone-lm/hone/tensor/internal/kernel"
	"github.com/hone-lm/hone/tensor/internal/par"
)

// Job is work in independent parts; see Parallel.
type Job = par.Job

// Parallel calls job.Part once for each i in [0, n), on as many processors as GOMAXPROCS allows, and returns when all are done. Results must not depend on who runs which part.
func Parallel(n int, job Job) { par.Do(n, job) }

// ParallelSections counts the parallel sections that really ran on more than one processor, for tests that compare numbers of processors.
func ParallelSections() uint64 { return par.Sections() }

// KernelLevel names the kernels in use: "avx512", "avx2" or "go".
func KernelLevel() string { return kernel.Level() }

// ForceKernelLevel chooses the kernels for a test and returns how to restore them; ok is false, and nothing changes, when this CPU or build lacks the level. Nothing else may run meanwhile.
func ForceKernelLevel(level string) (restore func(), ok bool) { return kernel.ForceLevel(level) }

// PeakFMA measures the machine's limit for fused multiply-adds on so many threads, in GFLOP/s; 0 where this build has no assembly.
func PeakFMA(threads int) float64 { return kernel.PeakFMA(threads) }

// PeakRead measures how fast memory is read on so many threads, in GB/s.
func PeakRead(threads int) float64 { return kernel.PeakRead(threads) }

// PeakBF16 is PeakFMA for products of bf16; 0 where this CPU or build has no instruction for them.
func PeakBF16(threads int) float64 { return kernel.PeakBF16(threads) }
