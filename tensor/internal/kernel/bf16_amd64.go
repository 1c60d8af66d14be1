//go:build amd64 && !purego

package kernel

import "unsafe"

// multiplyPairs is multiplyPairsGo, with the same bytes.
func multiplyPairs(m, n, k int, a []uint32, rsa, csa, ats int, b []uint32, ldb int, c []float32, ldc int, acc bool) {
	if !active.bf16 {
		multiplyPairsGo(m, n, k, a, rsa, csa, ats, b, ldb, c, ldc, acc)
		return
	}
	gemmBF16.tiles(m, n, k, unsafe.Pointer(unsafe.SliceData(a)), rsa, csa, ats, unsafe.Pointer(unsafe.SliceData(b)), ldb, unsafe.SliceData(c), ldc, acc)
}

func roundRow(src []float32, dst []uint32) {
	if !active.bf16 {
		roundRowGo(src, dst)
		return
	}
	_ = dst[:(len(src)+1)/2]
	roundBF16(len(src), unsafe.SliceData(src), unsafe.SliceData(dst))
}

// interleave is interleaveGo; it may write whole sixteens of columns, so dst must have room for them.
func interleave(k, cols int, src []float32, lds int, dst []uint32, ldd, half int) {
	if !active.bf16 {
		interleaveGo(k, cols, src, lds, dst, ldd, half)
		return
	}
	for j := 0; j < cols; {
		from, to := unsafe.SliceData(src[j:]), unsafe.SliceData(dst[j/8*half:])
		if j+panel <= cols {
			interleavePanelBF16(k, from, 4*lds, to, 4*ldd, 4*half, 0)
			j += panel
			continue
		}
		interleaveBF16(k, from, 4*lds, to, 4*ldd, 4*half, 1<<min(16, cols-j)-1)
		j += 16
	}
}

func peakLoopBF16() (func(rounds int), float64) { return peakBF16, 12 * 4 * 16 }
