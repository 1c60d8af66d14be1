package kernel

import "math"

// AttnToken is AttnForward for one token, with the same bytes: its heads are the rows, and group neighbouring ones share a key head. Row h of q
// and out begins at h*headDim. pages[j] holds the pages of the key heads, one behind the other; all heads see the first keys (at least one).
//
// A row alone is a chain that waits for itself, so several heads, each with its own keys, are worked on at a time.
func AttnToken(s *AttnScratch, heads, group int, q []float32, keys int, pages [][]float32, headDim int, scale float32, out []float32) {
	size := headDim * PageTokens
	used := (keys + PageTokens - 1) / PageTokens
	q, out, pages = q[:heads*headDim], out[:heads*headDim], pages[:used]
	for lo := 0; lo < heads; lo += attnRows {
		n := min(attnRows, heads-lo)
		for r := range n {
			s.m[r], s.l[r] = float32(math.Inf(-1)), 0
		}
		q, out := q[lo*headDim:], out[lo*headDim:]
		mode := prodSet
		for j, page := range pages {
			page = page[:(heads+group-1)/group*2*size]
			seen := min(PageTokens, keys-j*PageTokens)
			for r := range n {
				s.valid[r] = int32(seen)
			}
			next := 0
			if j+1 < used {
				next = distance(page[size:], pages[j+1])
			}
			active.attnLanes(lo, n, group, PageTokens, headDim, q, headDim, page, 2*size, PageTokens, s.scores[:], PageTokens, nil, prodSet, 4*size)
			active.attnSoftmax(s.scores[:n*PageTokens], s.valid[:n], scale, s.m[:n], s.l[:n], s.corr[:n])
			active.attnLanes(lo, n, group, headDim, seen, s.scores[:], PageTokens, page[size:], 2*size, headDim, out, headDim, s.corr[:n], mode, next)
			mode = prodRescale
		}
		for r := range n {
			o := out[r*headDim:][:headDim]
			active.div(o, o, s.l[r])
		}
	}
}
