package kernel

import (
	"runtime"
	"sync"

	"github.com/hone-lm/hone/tensor/internal/par"
)

// Blocking. A panel of B (blockK x panel columns) is packed once and used by every tile of rows of the block; an output's chain continues from
// the stored C in the next K block, so none of these numbers shows in a result.
const (
	panel      = 48  // columns of a packed panel of B
	blockK     = 256 // rows of a packed panel: 48 KiB
	blockM     = 512 // rows of A whose block stays in the second cache
	blockN     = 480 // columns between two packings of A: a block of C stays in the second cache
	inPlaceM   = 16  // up to so many rows B is read in place: packing it would cost more than it saves
	splitFlops = 1 << 20
)

type form uint8

const (
	formNN form = iota
	formNT
	formTN
)

// product is one call: a job for par, kept in a pool so that a call allocates nothing.
type product struct {
	form          form
	m, n, k       int
	a, b, c       []float32
	lda, ldb, ldc int
	acc           bool
	parts         int
	byRows        bool
}

var products = sync.Pool{New: func() any { return new(product) }}

// buffers are one worker's packing space.
type buffers struct {
	a [blockM * blockK]float32
	b [blockK * panel]float32
}

// spare holds packing space for as many workers as run at once. A channel, not sync.Pool: the garbage collector empties those.
var spare = make(chan *buffers, 64)

func takeBuffers() *buffers {
	select {
	case b := <-spare:
		return b
	default:
		return new(buffers)
	}
}

func giveBuffers(b *buffers) {
	select {
	case spare <- b:
	default:
	}
}

// GemmNN computes C[m][n] = A[m][k] B[k][n], or C += A B when acc is set. Leading dimensions are in elements.
func GemmNN(m, n, k int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int, acc bool) {
	gemm(formNN, m, n, k, a, lda, b, ldb, c, ldc, acc)
}

// GemmNT is GemmNN with B stored as [n][k].
func GemmNT(m, n, k int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int, acc bool) {
	gemm(formNT, m, n, k, a, lda, b, ldb, c, ldc, acc)
}

// GemmTN is GemmNN with A stored as [k][m].
func GemmTN(m, n, k int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int, acc bool) {
	gemm(formTN, m, n, k, a, lda, b, ldb, c, ldc, acc)
}

func gemm(f form, m, n, k int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int, acc bool) {
	if m <= 0 || n <= 0 {
		return
	}
	checkBounds(f, m, n, k, a, lda, b, ldb, c, ldc)
	if k == 0 {
		if !acc {
			for i := range m {
				clear(c[i*ldc : i*ldc+n])
			}
		}
		return
	}
	p := products.Get().(*product)
	*p = product{form: f, m: m, n: n, k: k, a: a, b: b, c: c, lda: lda, ldb: ldb, ldc: ldc, acc: acc}
	p.parts = 1
	if w := runtime.GOMAXPROCS(0); w > 1 && 2*m*n*k >= splitFlops {
		p.parts = w
		p.byRows = m >= 24*w && (m >= n || m >= 96*w)
		if !p.byRows && n < panel*w {
			p.parts = min(w, (n+15)/16)
		}
	}
	par.Do(p.parts, p)
	*p = product{}
	products.Put(p)
}

// Part computes one worker's rows or columns.
func (p *product) Part(i int) {
	rows, cols := [2]int{0, p.m}, [2]int{0, p.n}
	if p.byRows {
		rows[0], rows[1] = par.Split(p.m, p.parts, i, 8)
	} else if p.parts > 1 {
		align := panel
		if p.n < 4*panel*p.parts {
			align = 16
		}
		cols[0], cols[1] = par.Split(p.n, p.parts, i, align)
	}
	if rows[0] >= rows[1] || cols[0] >= cols[1] {
		return
	}
	if p.form == formNN && rows[1]-rows[0] <= inPlaceM {
		p.inPlace(rows, cols)
		return
	}
	buf := takeBuffers()
	defer giveBuffers(buf)
	for m0 := rows[0]; m0 < rows[1]; m0 += blockM {
		m1 := min(m0+blockM, rows[1])
		for n0 := cols[0]; n0 < cols[1]; n0 += blockN {
			n1 := min(n0+blockN, cols[1])
			for k0 := 0; k0 < p.k; k0 += blockK {
				p.block(buf, m0, m1, n0, n1, k0, min(k0+blockK, p.k))
			}
		}
	}
}

// block adds the products of one K block to C[m0:m1][n0:n1].
func (p *product) block(buf *buffers, m0, m1, n0, n1, k0, k1 int) {
	kb := k1 - k0
	acc := p.acc || k0 > 0
	tile, step := active.gemm.tile, active.gemm.maxRow
	a, rsa, csa := p.rowsOfA(buf, m0, m1, k0, kb, n1-n0)
	width := active.gemm.lanes * active.gemm.maxVec
	for j := n0; j < n1; j += panel {
		jw := min(panel, n1-j)
		b, ldb := p.panelOfB(buf, j, jw, k0, kb)
		for i := m0; i < m1; i += step {
			mr := min(step, m1-i)
			at := a[rsaOffset(i-m0, rsa, csa, kb):]
			for x := 0; x < jw; x += width {
				tile(mr, min(width, jw-x), kb, at, rsa, csa, b[x:], ldb, p.c[i*p.ldc+j+x:], p.ldc, acc)
			}
		}
	}
}

// rsaOffset finds row i of a packed or plain A block: packed TN slices are [m/8][kb][8], so that the row stride is 1 and the column stride 8.
func rsaOffset(i, rsa, csa, kb int) int {
	if rsa == 1 && csa == 8 {
		return i/8*8*kb + i%8
	}
	return i * rsa
}

// rowsOfA returns A[m0:m1][k0:k0+kb] with its strides: copied where it is reused often enough or stored the other way round.
func (p *product) rowsOfA(buf *buffers, m0, m1, k0, kb, cols int) (a []float32, rsa, csa int) {
	if p.form == formTN {
		for i := m0; i < m1; i += 8 {
			w := min(8, m1-i)
			dst := buf.a[(i-m0)*kb:]
			for q := range kb {
				copy8(dst[q*8:q*8+8], p.a[(k0+q)*p.lda+i:(k0+q)*p.lda+i+w])
			}
		}
		return buf.a[:], 1, 8
	}
	if cols < 4*panel || p.k <= blockK && p.lda == p.k {
		return p.a[m0*p.lda+k0:], p.lda, 1
	}
	for i := m0; i < m1; i++ {
		copy(buf.a[(i-m0)*kb:(i-m0)*kb+kb], p.a[i*p.lda+k0:])
	}
	return buf.a[:], kb, 1
}

func copy8(dst, src []float32) {
	if len(src) == 8 {
		*(*[8]float32)(dst) = [8]float32(src)
		return
	}
	copy(dst, src)
}

// panelOfB returns B[k0:k0+kb][j:j+jw] as rows of panel floats.
func (p *product) panelOfB(buf *buffers, j, jw, k0, kb int) ([]float32, int) {
	if p.form == formNT {
		Transpose(jw, kb, p.b[j*p.ldb+k0:], p.ldb, buf.b[:], panel)
		return buf.b[:], panel
	}
	for q := range kb {
		row := p.b[(k0+q)*p.ldb+j:]
		copy(buf.b[q*panel:q*panel+jw], row[:jw])
	}
	return buf.b[:], panel
}

// inPlace serves few rows (decoding): B is read where it lies, as wide as the kernels go, each output in one chain over the whole of K.
func (p *product) inPlace(rows, cols [2]int) {
	g := &active.gemm
	for j := cols[0]; j < cols[1]; {
		for i := rows[0]; i < rows[1]; i += g.maxRow {
			mr := min(g.maxRow, rows[1]-i)
			w := min(g.lanes*g.maxVec, cols[1]-j)
			g.tile(mr, w, p.k, p.a[i*p.lda:], p.lda, 1, p.b[j:], p.ldb, p.c[i*p.ldc+j:], p.ldc, p.acc)
		}
		j += g.lanes * g.maxVec
	}
}

// Small computes C[m][n] (+)= A B in this goroutine without packing, A[i][q] at a[i*rsa+q*csa]: for attention's blocks.
func Small(m, n, k int, a []float32, rsa, csa int, b []float32, ldb int, c []float32, ldc int, acc bool) {
	g := &active.gemm
	width := g.lanes * g.maxVec
	for j := 0; j < n; j += width {
		for i := 0; i < m; i += g.maxRow {
			g.tile(min(g.maxRow, m-i), min(width, n-j), k, a[i*rsa:], rsa, csa, b[j:], ldb, c[i*ldc+j:], ldc, acc)
		}
	}
}

// Transpose writes dst[j*ldd+i] = src[i*lds+j] for rows x cols of src.
func Transpose(rows, cols int, src []float32, lds int, dst []float32, ldd int) {
	t16 := active.gemm.transpose16
	r16, c16 := 0, 0
	if t16 != nil {
		r16, c16 = rows&^15, cols&^15
		for i := 0; i < r16; i += 16 {
			for j := 0; j < c16; j += 16 {
				t16(src[i*lds+j:], lds, dst[j*ldd+i:], ldd)
			}
		}
	}
	for i := range rows {
		from := 0
		if i < r16 {
			from = c16
		}
		for j := from; j < cols; j++ {
			dst[j*ldd+i] = src[i*lds+j]
		}
	}
}

func checkBounds(f form, m, n, k int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int) {
	ar, ac, br, bc := m, k, k, n
	switch f {
	case formNT:
		br, bc = n, k
	case formTN:
		ar, ac = k, m
	}
	if k > 0 {
		_ = a[(ar-1)*lda+ac-1]
		_ = b[(br-1)*ldb+bc-1]
	}
	_ = c[(m-1)*ldc+n-1]
	if lda < ac || ldb < bc || ldc < n {
		panic("kernel: leading dimension smaller than the row")
	}
}

// tileGo is the plain Go tile: rank-1 updates with K ascending.
func tileGo(rows, cols, k int, a []float32, rsa, csa int, b []float32, ldb int, c []float32, ldc int, acc bool) {
	for i := range rows {
		out := c[i*ldc : i*ldc+cols]
		if !acc {
			clear(out)
		}
		for q := range k {
			x := a[i*rsa+q*csa]
			row := b[q*ldb : q*ldb+cols]
			for j := range out {
				out[j] += float32(x * row[j])
			}
		}
	}
}
