package kernel

import "math"

// PageTokens is the number of keys of a page: the block of attention's recurrence.
const PageTokens = 32

const blockRows = 16 // query rows that share a pass over the pages

// AttnScratch is the working space of one goroutine. Its memory is reused.
type AttnScratch struct {
	scores, grads [blockRows * PageTokens]float32
	m, l          [blockRows]float32
	one           [1]float32
	kRows, vCols  []float32 // a page of K as [32][headDim], of V as [headDim][32], for backward
}

// PutK writes a key into column slot of the K part of a page, [headDim][32].
func PutK(pool []float32, page, slot, headDim int, k []float32) {
	for i, v := range k[:headDim] {
		pool[page+i*PageTokens+slot] = v
	}
}

// PutV writes a value into row slot of the V part of a page, [32][headDim].
func PutV(pool []float32, page, slot, headDim int, v []float32) {
	copy(pool[page+headDim*PageTokens+slot*headDim:], v[:headDim])
}

// AttnForward computes softmax(scale q K^T) V for query rows that share the pages of one document and key-value head. Row r sees keys
// 0..lens[r]-1; page j starts at pool[pages[j]]: K [headDim][32], then V [32][headDim]. lse[r] (may be nil) becomes the log-sum-exp of the
// row's scores, for AttnBackward. A row's bytes do not depend on the rows beside it.
func AttnForward(s *AttnScratch, rows int, q []float32, qStride int, lens []int32, pool []float32, pages []int, headDim int, scale float32, out []float32, outStride int, lse []float32) {
	for r0 := 0; r0 < rows; r0 += blockRows {
		n := min(blockRows, rows-r0)
		var l []float32
		if lse != nil {
			l = lse[r0:]
		}
		attnForwardBlock(s, n, q[r0*qStride:], qStride, lens[r0:], pool, pages, headDim, scale, out[r0*outStride:], outStride, l)
	}
}

func attnForwardBlock(s *AttnScratch, rows int, q []float32, qStride int, lens []int32, pool []float32, pages []int, headDim int, scale float32, out []float32, outStride int, lse []float32) {
	longest := int32(0)
	for r := range rows {
		s.m[r], s.l[r] = float32(math.Inf(-1)), 0
		clear(out[r*outStride : r*outStride+headDim])
		longest = max(longest, lens[r])
	}
	for j := 0; j*PageTokens < int(longest); j++ {
		page := pages[j]
		visible := min(PageTokens, int(longest)-j*PageTokens)
		first := firstSeeing(rows, lens, j) // rows before it see nothing of this page; rows usually come with growing lens
		n := rows - first
		Small(n, PageTokens, headDim, q[first*qStride:], qStride, 1, pool[page:], PageTokens, s.scores[:], PageTokens, false)
		for r := range n {
			s.softmaxStep(first+r, s.scores[r*PageTokens:(r+1)*PageTokens], int(lens[first+r])-j*PageTokens, scale, out[(first+r)*outStride:(first+r)*outStride+headDim])
		}
		Small(n, headDim, visible, s.scores[:], PageTokens, 1, pool[page+headDim*PageTokens:], headDim, out[first*outStride:], outStride, true)
	}
	for r := range rows {
		active.scale(out[r*outStride:r*outStride+headDim], out[r*outStride:r*outStride+headDim], 1/s.l[r])
		if lse != nil {
			lse[r] = float32(float64(s.m[r]) + math.Log(float64(s.l[r])))
		}
	}
}

// softmaxStep turns one row's scores of a page into weights under the new maximum and rescales what the row has gathered so far.
func (s *AttnScratch) softmaxStep(r int, row []float32, visible int, scale float32, out []float32) {
	if visible <= 0 {
		clear(row)
		return
	}
	visible = min(visible, PageTokens)
	m := max(s.m[r], active.max(row[:visible])*scale)
	sum := active.expSum(row[:visible], row[:visible], scale, m)
	clear(row[visible:])
	if m != s.m[r] && s.l[r] != 0 {
		corr := s.exp(s.m[r] - m)
		s.l[r] *= corr
		active.scale(out, out, corr)
	}
	s.m[r] = m
	s.l[r] += sum
}

// exp is exp of one number by the vector kernel, so that every level rounds alike.
func (s *AttnScratch) exp(x float32) float32 {
	s.one[0] = x
	return active.expSum(s.one[:], s.one[:], 1, 0)
}

// firstSeeing returns the first row from which on all rows see a key of page j.
func firstSeeing(rows int, lens []int32, j int) int {
	first := rows
	for first > 0 && int(lens[first-1]) > j*PageTokens {
		first--
	}
	for r := range first {
		if int(lens[r]) > j*PageTokens {
			return r // lens do not grow: softmaxStep clears the rows that see nothing
		}
	}
	return first
}

// AttnBackward adds the gradients of AttnForward: to dq, and to dpool, whose pages (at the same offsets) hold dK as [32][headDim], then dV as
// [32][headDim]. Weights are recomputed from lse; query rows are added in ascending order.
func AttnBackward(s *AttnScratch, rows int, q []float32, qStride int, lens []int32, pool []float32, pages []int, headDim int, scale float32, out, dOut []float32, outStride int, lse []float32, dq []float32, dqStride int, dpool []float32) {
	if len(s.kRows) < PageTokens*headDim {
		s.kRows = make([]float32, PageTokens*headDim)
		s.vCols = make([]float32, PageTokens*headDim)
	}
	longest := int32(0)
	for r := range rows {
		longest = max(longest, lens[r])
	}
	for j := 0; j*PageTokens < int(longest); j++ {
		page := pages[j]
		v := page + headDim*PageTokens
		Transpose(headDim, PageTokens, pool[page:], PageTokens, s.kRows, headDim)
		Transpose(PageTokens, headDim, pool[v:], headDim, s.vCols, PageTokens)
		visible := min(PageTokens, int(longest)-j*PageTokens)
		clear(s.kRows[visible*headDim : PageTokens*headDim]) // unused slots may hold anything
		for r0 := 0; r0 < rows; r0 += blockRows {
			n := min(blockRows, rows-r0)
			first := firstSeeing(n, lens[r0:], j)
			if first == n {
				continue
			}
			r := r0 + first
			s.backwardBlock(n-first, q[r*qStride:], qStride, lens[r:], j, pool[page:], headDim, scale, out[r*outStride:], dOut[r*outStride:], outStride, lse[r:], dq[r*dqStride:], dqStride, dpool[page:])
		}
	}
}

func (s *AttnScratch) backwardBlock(rows int, q []float32, qStride int, lens []int32, j int, pageK []float32, headDim int, scale float32, out, dOut []float32, outStride int, lse, dq []float32, dqStride int, dPage []float32) {
	Small(rows, PageTokens, headDim, q, qStride, 1, pageK, PageTokens, s.scores[:], PageTokens, false)
	Small(rows, PageTokens, headDim, dOut, outStride, 1, s.vCols, PageTokens, s.grads[:], PageTokens, false)
	for r := range rows {
		visible := min(max(int(lens[r])-j*PageTokens, 0), PageTokens)
		p, dp := s.scores[r*PageTokens:(r+1)*PageTokens], s.grads[r*PageTokens:(r+1)*PageTokens]
		d := active.dot(out[r*outStride:r*outStride+headDim], dOut[r*outStride:r*outStride+headDim])
		active.attnGrad(p[:visible], dp[:visible], scale, lse[r], d)
		clear(p[visible:])
		clear(dp[visible:])
	}
	Small(rows, headDim, PageTokens, s.grads[:], PageTokens, 1, s.kRows, headDim, dq, dqStride, true)
	Small(PageTokens, headDim, rows, s.grads[:], 1, PageTokens, q, qStride, dPage, headDim, true)
	Small(PageTokens, headDim, rows, s.scores[:], 1, PageTokens, dOut, outStride, dPage[PageTokens*headDim:], headDim, true)
}
