//go:build amd64 && !purego

package kernel

var (
	avx512Ops = withGemm("avx512", gemmAVX512)
	avx2Ops   = withGemm("avx2", gemmAVX2)
)

func withGemm(name string, g gemmOps) ops {
	o := goOps
	o.name, o.gemm = name, g
	return o
}
