//go:build amd64 && !purego

package kernel

import "unsafe"

var (
	gemmAVX512 = gemmOps{lanes: 16, rows: 8, wide: [5]int{1: 12, 2: 12, 3: 8, 4: 6}, nt: 128, nn: 128, nnBlock: 128}
	gemmAVX2   = gemmOps{lanes: 8, rows: 4, wide: [5]int{1: 8, 2: 6}, nt: 8, nn: 16, nnBlock: 64}
)

// tile is the argument of the tile kernels, which know the offsets of its fields (gen/gemm.go). Distances are in bytes.
type tile struct {
	a, b, c       unsafe.Pointer
	rsa, csa, ats int // between rows of A, columns of A, tiles of rows of A
	rsb, rsc      int
	rows, k       int
	shape         int // number of vectors (1 to 3, the last one masked), shapeFull or shapeWide
	acc           int
	ahead         int      // from a row of B to the one to ask for meanwhile
	bits          uint64   // lanes of the last vector, for AVX-512
	mask          [8]int32 // the same for AVX2
}

const (
	shapeFull = 4 // 3 vectors, all lanes
	shapeWide = 5 // gemmOps.wide vectors, all lanes
)

// Assembly cannot be preempted: one call does at most so much, under a millisecond.
const (
	callRows = 512
	callK    = 1024
)

// multiply computes C[m][n] (+)= A B as multiplyGo does, with fused multiply-adds. Row i of A begins at i/rows*ats + i%rows*rsa, where rows
// is that of active.gemm.
func multiply(m, n, k int, a []float32, rsa, csa, ats int, b []float32, ldb int, c []float32, ldc int, acc bool) {
	g := &active.gemm
	if g.lanes == 1 {
		multiplyGo(m, n, k, a, rsa, csa, ats, b, ldb, c, ldc, acc)
		return
	}
	g.tiles(m, n, k, unsafe.Pointer(unsafe.SliceData(a)), rsa, csa, ats, unsafe.Pointer(unsafe.SliceData(b)), ldb, unsafe.SliceData(c), ldc, acc)
}

// tiles is multiply with the tile kernels of g.
func (g *gemmOps) tiles(m, n, k int, pa unsafe.Pointer, rsa, csa, ats int, pb unsafe.Pointer, ldb int, c *float32, ldc int, acc bool) {
	t, pc := tile{rsa: 4 * rsa, csa: 4 * csa, ats: 4 * ats, rsb: 4 * ldb, rsc: 4 * ldc}, unsafe.Pointer(c)
	t.ahead = t.rowsAhead(m, ldb)
	for i := 0; i < m; i += callRows {
		t.rows = min(callRows, m-i)
		for q := 0; q == 0 || q < k; q += callK {
			t.k, t.acc = min(callK, k-q), 0
			if acc || q > 0 {
				t.acc = 1
			}
			t.columns(g, n, unsafe.Add(pa, i/g.rows*t.ats+q*t.csa), unsafe.Add(pb, q*t.rsb), unsafe.Add(pc, i*t.rsc))
		}
	}
}

// rowsAhead returns how far ahead B is asked for, from memory into the second cache: far enough that reading runs through memory and not across
// it. A panel is in the cache.
func (t *tile) rowsAhead(m, ldb int) int {
	rows := 64
	switch {
	case ldb <= quantPanel:
		rows = 0
	case m <= wholeRows:
		rows = 8
	}
	return rows * t.rsb
}

// columns runs the tile kernels over n columns: wide ones if there are few rows, then three vectors, then what remains.
func (t *tile) columns(g *gemmOps, n int, a, b, c unsafe.Pointer) {
	wide := 0
	if t.rows < len(g.wide) {
		wide = g.wide[t.rows] * g.lanes
	}
	for j := 0; j < n; {
		t.a, t.b, t.c = a, unsafe.Add(b, 4*j), unsafe.Add(c, 4*j)
		switch {
		case wide > 0 && n-j >= wide:
			t.shape = shapeWide
			j += wide
		case n-j >= 3*g.lanes:
			t.setLast(shapeFull, g.lanes)
			j += 3 * g.lanes
		default:
			vecs := (n - j + g.lanes - 1) / g.lanes
			t.setLast(vecs, n-j-(vecs-1)*g.lanes)
			j = n
		}
		switch {
		case g.pairs:
			tileBF16((*byte)(unsafe.Pointer(t)))
		case g.lanes == 16:
			tileAVX512((*byte)(unsafe.Pointer(t)))
		default:
			tileAVX2((*byte)(unsafe.Pointer(t)))
		}
	}
}

// multiplyRow is multiply for one row of A without gaps, for n a multiple of rowColumns and k one of rowSteps.
func multiplyRow(n, k int, a []float32, b []float32, ldb int, c []float32, acc bool) {
	for q := 0; q < k; q += rowSteps {
		more := 0
		if acc || q > 0 {
			more = 1
		}
		if active.gemm.lanes == 16 {
			rowAVX512(n/16, &a[q], &b[q*ldb], 4*ldb, &c[0], more, 4*rowSteps*ldb)
		} else {
			rowAVX2(n/8, &a[q], &b[q*ldb], 4*ldb, &c[0], more, 4*rowSteps*ldb)
		}
	}
}

// setLast chooses a shape whose last vector has so many lanes. The shape of three full vectors needs the mask where rows are fewer than a tile's.
func (t *tile) setLast(shape, lanes int) {
	t.shape, t.bits = shape, 1<<lanes-1
	for i := range t.mask {
		t.mask[i] = int32(i-lanes) >> 31
	}
}

// packWhole packs k rows of a panel's width; false where the plain way is as good.
func packWhole(k int, src []float32, lds int, dst []float32) bool {
	switch active.gemm.lanes {
	case 16:
		packAVX512(k, unsafe.SliceData(src), 4*lds, unsafe.SliceData(dst))
	case 8:
		packAVX2(k, unsafe.SliceData(src), 4*lds, unsafe.SliceData(dst))
	default:
		return false
	}
	return true
}

// transposeBlocks transposes all whole blocks and returns how many rows and columns of src that were; on AVX-512 columns are a multiple of 16
// but rows may end with one block of 8, whose columns the caller finishes too.
func transposeBlocks(rows, cols int, src []float32, lds int, dst []float32, ldd int) (doneRows, doneCols int) {
	lanes := active.gemm.lanes
	if lanes == 1 || cols < lanes {
		return 0, 0
	}
	i := 0
	if lanes == 16 {
		for ; i+16 <= rows; i += 16 {
			transposeAVX512(cols/16, unsafe.SliceData(src[i*lds:]), 4*lds, unsafe.SliceData(dst[i:]), 4*ldd)
		}
	}
	for ; i+8 <= rows; i += 8 {
		transposeAVX2(cols/lanes*(lanes/8), unsafe.SliceData(src[i*lds:]), 4*lds, unsafe.SliceData(dst[i:]), 4*ldd)
	}
	return i, cols / lanes * lanes
}

// peakLoop returns the loop that PeakFMA times and its floating-point operations a round: 12 instructions of 2 operations a lane.
func peakLoop() (func(rounds int), float64) {
	switch active.gemm.lanes {
	case 16:
		return peakAVX512, 12 * 2 * 16
	case 8:
		return peakAVX2, 12 * 2 * 8
	}
	return nil, 0
}

// readBlocks reads data, in steps that can be preempted.
func readBlocks(data []float32) {
	if active.gemm.lanes == 1 {
		_ = Sum(data)
		return
	}
	const step = 1 << 18
	for ; len(data) >= step; data = data[step:] {
		readAVX2(step/64, unsafe.SliceData(data))
	}
}
