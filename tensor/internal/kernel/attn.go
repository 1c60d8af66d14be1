package kernel

import (
	"fmt"
	"math"
	"slices"
)

// PageTokens is the number of keys of a page: the block of attention's recurrence.
const PageTokens = 32

// attnRows is how many query rows share a pass over the pages.
const attnRows = 32

// AttnScratch is the working space of one goroutine. Its memory is reused.
type AttnScratch struct {
	scores, grads [attnRows * PageTokens]float32
	m, l, corr    [attnRows]float32
	valid         [attnRows]int32 // keys of the current page that a row sees
	d             []float32       // backward: sum of dOut*out of every row
	kRows, vCols  []float32       // backward: a page of K as [32][headDim], of V as [headDim][32]
}

// PutK writes a key into column slot of the K part of a page, [headDim][32].
func PutK(page []float32, slot, headDim int, k []float32) {
	for i, v := range k[:headDim] {
		page[i*PageTokens+slot] = v
	}
}

// PutV writes a value into row slot of the V part of a page, [32][headDim].
func PutV(page []float32, slot, headDim int, v []float32) {
	copy(page[(PageTokens+slot)*headDim:], v[:headDim])
}

// AttnForward computes softmax(scale q K^T) V for query rows that share the pages of one document and key head. Row r sees keys 0..lens[r]-1;
// pages[j] holds keys 32j to 32j+31: K [headDim][32], then V [32][headDim]. lse[r] (lse may be nil) becomes the log-sum-exp of the row's scores,
// for AttnBackward. A row's bytes do not depend on the rows beside it, nor on what stands behind its last key. A row that sees nothing gives 0.
//
// The recurrence of a row over its pages (Milakov and Gimelshein 2018, arXiv 1805.02867; Dao et al. 2022, arXiv 2205.14135): m' = max(m, scores),
// p = exp(score - m'), l = l*exp(m - m') + sum p, out = out*exp(m - m') + sum p*V with keys ascending; at the end out/l.
func AttnForward(s *AttnScratch, rows int, q []float32, qStride int, lens []int32, pages [][]float32, headDim int, scale float32, out []float32, outStride int, lse []float32) {
	attnCheck(lens[:rows], pages, headDim, q, qStride, out, outStride)
	for lo := 0; lo < rows; lo += attnRows {
		n := min(attnRows, rows-lo)
		s.forwardBlock(lens[lo:lo+n], q[lo*qStride:], qStride, pages, headDim, scale, out[lo*outStride:], outStride)
		for r := range n {
			o := out[(lo+r)*outStride:][:headDim]
			if lens[lo+r] > 0 {
				active.div(o, o, s.l[r])
			} else {
				clear(o)
			}
			if lse != nil {
				lse[lo+r] = float32(float64(s.m[r]) + math.Log(float64(s.l[r])))
			}
		}
	}
}

// attnCheck panics where a slice is too short for its rows or a row sees more keys than the pages hold: assembly checks nothing.
func attnCheck(lens []int32, pages [][]float32, headDim int, a []float32, aStride int, b []float32, bStride int) {
	if len(lens) == 0 {
		return
	}
	last := len(lens) - 1
	_, _ = a[last*aStride+headDim-1], b[last*bStride+headDim-1]
	if most := int(slices.Max(lens)); most > len(pages)*PageTokens {
		panic(fmt.Sprintf("kernel: attention over %d keys in %d pages of %d", most, len(pages), PageTokens))
	}
}

// forwardBlock runs the recurrence of up to attnRows rows and leaves l, m and the unnormalised out.
func (s *AttnScratch) forwardBlock(lens []int32, q []float32, qStride int, pages [][]float32, headDim int, scale float32, out []float32, outStride int) {
	for r := range lens {
		s.m[r], s.l[r] = float32(math.Inf(-1)), 0
	}
	mode, size := prodSet, headDim*PageTokens
	for j, page := range pages {
		first, end := s.seeing(lens, j)
		if first == end {
			break
		}
		n := end - first
		k, v := page[:size], page[size:2*size]
		scores, valid := s.scores[:n*PageTokens], s.valid[first:end]
		active.attnProd(n, PageTokens, headDim, q[first*qStride:], qStride, 1, k, PageTokens, scores, PageTokens, nil, prodSet)
		active.attnSoftmax(scores, valid, scale, s.m[first:end], s.l[first:end], s.corr[first:end])
		rowProducts(valid, headDim, scores, v, out[first*outStride:], outStride, s.corr[first:end], mode)
		mode = prodRescale
	}
}

// seeing fills valid with the keys that each row sees of page j and returns the range of rows that see any. Rows usually come with growing lens.
func (s *AttnScratch) seeing(lens []int32, j int) (first, end int) {
	first = len(lens)
	for r, n := range lens {
		v := min(max(int(n)-j*PageTokens, 0), PageTokens)
		s.valid[r] = int32(v)
		if v > 0 {
			first, end = min(first, r), r+1
		}
	}
	return min(first, end), end
}

// Modes of attnProd: what a chain starts from.
const (
	prodSet     = 0 // 0
	prodAdd     = 1 // the stored output
	prodRescale = 2 // the stored output times the row's correction
)

// prodRows is how many rows a product with different numbers of keys takes together.
const prodRows = 8

// rowProducts adds to each row of c the sum over the keys it sees of a[row][key]*b[key][:], keys ascending; a [rows][32], b [32][headDim].
// Keys that a row does not see are never multiplied, even by 0: they may hold anything.
func rowProducts(valid []int32, headDim int, a, b []float32, c []float32, ldc int, corr []float32, mode int) {
	for lo := 0; lo < len(valid); {
		hi := lo + 1
		for hi < len(valid) && valid[hi] == valid[lo] {
			hi++
		}
		if hi-lo < prodRows {
			hi = min(lo+prodRows, len(valid))
		}
		least := int(slices.Min(valid[lo:hi]))
		var rescale []float32
		if mode == prodRescale {
			rescale = corr[lo:hi]
		}
		active.attnProd(hi-lo, headDim, least, a[lo*PageTokens:], PageTokens, 1, b, headDim, c[lo*ldc:], ldc, rescale, mode)
		for ; lo < hi; lo++ {
			if rest := int(valid[lo]) - least; rest > 0 {
				active.attnProd(1, headDim, rest, a[lo*PageTokens+least:], PageTokens, 1, b[least*headDim:], headDim, c[lo*ldc:], ldc, nil, prodAdd)
			}
		}
	}
}

// keyProducts adds to each key's row of c the sum over the query rows that see it of a[row][key]*b[row][:], rows ascending; c [32][headDim].
func keyProducts(valid []int32, headDim int, a, b []float32, ldb int, c []float32) {
	keys, full := 0, true
	for _, v := range valid {
		keys = max(keys, int(v))
		full = full && v == PageTokens
	}
	step := prodRows
	if full {
		step = PageTokens
	}
	for key := 0; key < keys; key += step {
		first := 0
		for int(valid[first]) <= key {
			first++
		}
		active.attnProd(min(step, keys-key), headDim, len(valid)-first, a[first*PageTokens+key:], 1, PageTokens, b[first*ldb:], ldb, c[key*headDim:], headDim, nil, prodAdd)
	}
}

// AttnBackward adds the gradients of AttnForward: to dq, and to dpages, where page j holds dK of its keys as [32][headDim], then dV as
// [32][headDim]. Weights are recomputed from lse; a key's gradient adds the query rows in ascending order.
//
// With p the weights and d = sum over headDim of dOut*out: dV[key] = sum p dOut, dS = p (dOut V - d) scale, dq = sum dS K, dK[key] = sum dS q.
func AttnBackward(s *AttnScratch, rows int, q []float32, qStride int, lens []int32, pages [][]float32, headDim int, scale float32, out, dOut []float32, outStride int, lse []float32, dq []float32, dqStride int, dpages [][]float32) {
	attnCheck(lens[:rows], pages, headDim, q, qStride, out, outStride)
	attnCheck(lens[:rows], pages, headDim, dq, dqStride, dOut, outStride)
	s.grow(rows, headDim)
	for r := range rows {
		at := r * outStride
		s.d[r] = active.dot(dOut[at:at+headDim], out[at:at+headDim])
	}
	size := headDim * PageTokens
	for j, page := range pages {
		k, v := page[:size], page[size:2*size]
		dk, dv := dpages[j][:size], dpages[j][size:2*size]
		fresh := true
		for lo := 0; lo < rows; lo += attnRows {
			first, end := s.seeing(lens[lo:min(rows, lo+attnRows)], j)
			if first == end {
				continue
			}
			if fresh {
				Transpose(headDim, PageTokens, k, PageTokens, s.kRows, headDim)
				Transpose(PageTokens, headDim, v, headDim, s.vCols, PageTokens)
				fresh = false
			}
			n, at := end-first, lo+first
			valid, p, ds := s.valid[first:end], s.scores[:n*PageTokens], s.grads[:n*PageTokens]
			q, dOut := q[at*qStride:], dOut[at*outStride:]
			active.attnProd(n, PageTokens, headDim, q, qStride, 1, k, PageTokens, p, PageTokens, nil, prodSet)
			active.attnProd(n, PageTokens, headDim, dOut, outStride, 1, s.vCols, PageTokens, ds, PageTokens, nil, prodSet)
			active.attnGrad(p, ds, valid, scale, lse[at:at+n], s.d[at:at+n])
			rowProducts(valid, headDim, ds, s.kRows, dq[at*dqStride:], dqStride, nil, prodAdd)
			keyProducts(valid, headDim, ds, q, qStride, dk)
			keyProducts(valid, headDim, p, dOut, outStride, dv)
		}
	}
}

// grow makes room for backward.
func (s *AttnScratch) grow(rows, headDim int) {
	if len(s.d) < rows {
		s.d = make([]float32, rows)
	}
	if size := headDim * PageTokens; len(s.kRows) < size {
		s.kRows, s.vCols = make([]float32, size), make([]float32, size)
	}
}
