package tensor

import (
	"fmt"
	"math"

	"github.com/hone-lm/hone/tensor/internal/kernel"
	"github.com/hone-lm/hone/tensor/internal/par"
)

// Head is the vocabulary head: logits = hidden W^T (+ bias), worked through in chunks of rows so that tokens x vocabulary is never held. It is not recorded on a tape: its gradient goes to the caller's dHidden and to W.Grad and Bias.Grad (where they exist).
// A row's numbers do not depend on its chunk or its neighbours, and W.Grad not on the chunking. A Head belongs to one goroutine at a time and reuses its memory.
type Head struct {
	W         *Tensor // [vocabulary][d]: the tied embedding or lm_head
	Bias      *Tensor // [1][vocabulary] or nil
	ChunkRows int     // rows worked on at a time; 0 = 256
	BF16      bool    // products round their operands to bf16

	hidden, dHidden []float32 // [chunk][d]
	logits          []float32 // [chunk][vocabulary]
	stats           []Stats   // [chunk]
	logp, entropy   []float32 // [chunk]
	dLogp, dEntropy []float32 // [chunk], of Fused
	term            []float32 // [parts][2][vocabulary], of Terms: logits / T, and the derivative by them, which is zero between rows
	job             headJob
}

// HeadRows lists what is asked of the head: entry i speaks of hidden row Row[i] and of token Target[i] there.
type HeadRows struct {
	Row    []int32   // rows of hidden; a row may occur several times
	Target []int32   // token ids; negative = none, its log-prob is 0
	Temp   []float32 // temperatures, 0 = 1; nil = all 1
	Terms  Terms     // functions of whole rows of logits; nil = none
}

// HeadScores receives results, one entry a row; a nil slice is not wanted.
type HeadScores struct {
	LogProb []float32 // of the target, at the row's temperature, nats
	Entropy []float32 // of the whole distribution, nats
	LSE     []float32 // log-sum-exp of logits / T

	TopK       int       // how many most likely tokens to list, descending, equal ones by ascending id
	TopID      []int32   // [rows][TopK]
	TopLogProb []float32 // [rows][TopK]
}

// defaultChunk balances the memory for logits (rows x vocabulary) against reading W once a chunk.
const defaultChunk = 256

func (h *Head) chunk() int {
	if h.ChunkRows > 0 {
		return h.ChunkRows
	}
	return defaultChunk
}

// Bytes returns the memory that the head needs beside W, for the plan printed before a run.
func (h *Head) Bytes() int64 {
	return 4 * int64(h.chunk()) * int64(h.W.Rows+2*h.W.Cols+8)
}

// Logits writes the logits of n rows of hidden [n][d] to dst [n][vocabulary], with the arithmetic that Score, Grad and Fused use.
func (h *Head) Logits(dst, hidden []float32, n int) {
	v := h.W.Rows
	h.headLogits(dst, hidden, n)
	if h.Bias != nil {
		for r := range n {
			kernel.AddTo(dst[r*v:(r+1)*v], h.Bias.Data)
		}
	}
}

// Score computes out for all rows, without gradient. hidden is [T][d], after the final norm.
func (h *Head) Score(hidden *Tensor, rows HeadRows, out *HeadScores) {
	h.begin(hidden, rows)
	for lo := 0; lo < len(rows.Row); lo += h.chunk() {
		hi := min(len(rows.Row), lo+h.chunk())
		h.forward(hidden, rows, lo, hi)
		h.read(rows, lo, hi)
		h.job.out = out
		h.each(topPart)
		h.job.out = nil
		copyWanted(out.LogProb, h.logp, lo, hi)
		copyWanted(out.Entropy, h.entropy, lo, hi)
		for i := lo; i < hi && out.LSE != nil; i++ {
			out.LSE[i] = h.stats[i-lo].LSE
		}
	}
}

// Grad adds the gradient for given derivatives: dLogProb [rows] and dEntropy [rows] or nil. Logits are computed again chunk by chunk. dHidden is [T][d] (Tape.GradOf of hidden) or nil.
func (h *Head) Grad(hidden *Tensor, rows HeadRows, dLogProb, dEntropy, dHidden []float32) {
	h.begin(hidden, rows)
	if len(dLogProb) != len(rows.Row) || (dEntropy != nil && len(dEntropy) != len(rows.Row)) {
		panic(fmt.Sprintf("tensor: Head.Grad: %d rows, %d and %d derivatives", len(rows.Row), len(dLogProb), len(dEntropy)))
	}
	for lo := 0; lo < len(rows.Row); lo += h.chunk() {
		hi := min(len(rows.Row), lo+h.chunk())
		h.forward(hidden, rows, lo, hi)
		if rows.Terms != nil {
			rows.Terms.Chunk(lo, hi)
		}
		var de []float32
		if dEntropy != nil {
			de = dEntropy[lo:hi]
		}
		h.backward(rows, lo, hi, dLogProb[lo:hi], de, dHidden)
	}
}

// Loss is called by Fused for entries lo to hi: it reads their log-probs and entropies (nats) and writes the derivatives of the loss by them, which are zero on entry. All slices have hi - lo entries.
type Loss func(lo, hi int, logProb, entropy, dLogProb, dEntropy []float32)

// Fused is Score and Grad in one pass, for losses in which a token's derivative depends on that token alone: logits are computed once.
func (h *Head) Fused(hidden *Tensor, rows HeadRows, dHidden []float32, loss Loss) {
	h.begin(hidden, rows)
	for lo := 0; lo < len(rows.Row); lo += h.chunk() {
		hi := min(len(rows.Row), lo+h.chunk())
		n := hi - lo
		h.forward(hidden, rows, lo, hi)
		h.read(rows, lo, hi)
		clear(h.dLogp[:n])
		clear(h.dEntropy[:n])
		loss(lo, hi, h.logp[:n], h.entropy[:n], h.dLogp[:n], h.dEntropy[:n])
		h.backward(rows, lo, hi, h.dLogp[:n], h.dEntropy[:n], dHidden)
	}
}

// begin checks the request and makes room for a chunk.
func (h *Head) begin(hidden *Tensor, rows HeadRows) {
	check("Head", "hidden", hidden, -1, h.W.Cols)
	checkQuant("Head", h.W, false)
	checkIndex("Head", "row", rows.Row, hidden.Rows)
	if len(rows.Target) != len(rows.Row) || (rows.Temp != nil && len(rows.Temp) != len(rows.Row)) {
		panic(fmt.Sprintf("tensor: Head: %d rows, %d targets, %d temperatures", len(rows.Row), len(rows.Target), len(rows.Temp)))
	}
	for i, id := range rows.Target {
		if int(id) >= h.W.Rows {
			panic(fmt.Sprintf("tensor: Head: target %d at place %d, of %d", id, i, h.W.Rows))
		}
	}
	h.fit(min(h.chunk(), len(rows.Row)))
	if rows.Terms != nil {
		h.roomForTerms()
	}
}

// fit makes room for a chunk of n rows.
func (h *Head) fit(n int) {
	h.hidden = room(h.hidden, n*h.W.Cols)
	h.dHidden = room(h.dHidden, n*h.W.Cols)
	h.logits = room(h.logits, n*h.W.Rows)
	h.logp, h.entropy, h.dLogp, h.dEntropy = room(h.logp, n), room(h.entropy, n), room(h.dLogp, n), room(h.dEntropy, n)
	if cap(h.stats) < n {
		h.stats = make([]Stats, n)
	}
	h.stats = h.stats[:n]
}

// room returns a slice of n values, in x's memory when it is large enough.
func room(x []float32, n int) []float32 {
	if cap(x) < n {
		return make([]float32, n)
	}
	return x[:n]
}

func copyWanted(dst, src []float32, lo, hi int) {
	if dst != nil {
		copy(dst[lo:hi], src)
	}
}

// forward fills logits, stats, logp and entropy for entries lo to hi.
func (h *Head) forward(hidden *Tensor, rows HeadRows, lo, hi int) {
	d := h.W.Cols
	for i, r := range rows.Row[lo:hi] {
		copy(h.hidden[i*d:(i+1)*d], hidden.Row(int(r)))
	}
	h.Logits(h.logits, h.hidden, hi-lo)
	h.job = headJob{h: h, rows: rows, lo: lo, n: hi - lo}
	h.each(scorePart)
}

// headJob is a parallel section over the rows of a chunk.
type headJob struct {
	h               *Head
	fn              func(j *headJob, part, i int)
	rows            HeadRows
	lo, n, parts    int
	dLogp, dEntropy []float32
	out             *HeadScores
}

// maxParts is how many parts a section over the rows of a chunk has at most.
func maxParts() int { return 2 * par.Workers() }

func (h *Head) each(fn func(j *headJob, part, i int)) {
	j := &h.job
	j.fn = fn
	j.parts = max(1, min(j.n*h.W.Rows*2*expCost/partWork, maxParts(), j.n))
	if j.rows.Terms != nil {
		j.parts = min(j.parts, len(h.term)/(2*h.W.Rows)) // there may be more processors than there were
	}
	par.Do(j.parts, j)
}

// Part works on the rows of part i.
func (j *headJob) Part(i int) {
	lo, hi := par.Split(j.n, j.parts, i, 1)
	for r := lo; r < hi; r++ {
		j.fn(j, i, r)
	}
}

func (j *headJob) row(i int) []float32 {
	v := j.h.W.Rows
	return j.h.logits[i*v : (i+1)*v]
}

func (j *headJob) temp(i int) float32 {
	if j.rows.Temp == nil {
		return 1
	}
	return j.rows.Temp[j.lo+i]
}

func scorePart(j *headJob, _, i int) {
	h, z := j.h, j.row(i)
	s := RowStats(z, j.temp(i))
	h.stats[i], h.entropy[i], h.logp[i] = s, s.Entropy, 0
	if id := j.rows.Target[j.lo+i]; id >= 0 {
		h.logp[i] = LogProb(z[id], j.temp(i), s.LSE)
	}
}

func topPart(j *headJob, _, i int) {
	k := j.out.TopK
	if k <= 0 {
		return
	}
	at := (j.lo + i) * k
	ids, lps := j.out.TopID[at:at+k], j.out.TopLogProb[at:at+k]
	topK(j.row(i), ids, lps)
	for n := range lps {
		if ids[n] >= 0 {
			lps[n] = LogProb(lps[n], j.temp(i), j.h.stats[i].LSE)
		}
	}
}

// topK lists the largest values of z in descending order, equal ones by ascending index. Where z has fewer than len(ids) values the rest is -1 and minus infinity.
func topK(z []float32, ids []int32, vals []float32) {
	for n := range ids {
		ids[n], vals[n] = -1, float32(math.Inf(-1))
	}
	last := len(ids) - 1
	for id, v := range z {
		if v <= vals[last] && ids[last] >= 0 {
			continue
		}
		n := last
		for ; n > 0 && (v > vals[n-1] || ids[n-1] < 0); n-- {
			ids[n], vals[n] = ids[n-1], vals[n-1]
		}
		ids[n], vals[n] = int32(id), v
	}
}

// backward turns the chunk's logits into their gradient in place and multiplies it out.
func (h *Head) backward(rows HeadRows, lo, hi int, dLogp, dEntropy, dHidden []float32) {
	h.job = headJob{h: h, rows: rows, lo: lo, n: hi - lo, dLogp: dLogp, dEntropy: dEntropy}
	if rows.Terms == nil {
		h.each(headGradPart)
	} else {
		h.each(termGradPart)
	}
	h.multiply(rows, lo, hi, dHidden)
}

// multiply takes the chunk's derivatives by the logits to bias, W and hidden.
func (h *Head) multiply(rows HeadRows, lo, hi int, dHidden []float32) {
	v, d, n := h.W.Rows, h.W.Cols, hi-lo
	if h.Bias.wants() {
		for i := range n {
			kernel.AddTo(h.Bias.Grad, h.logits[i*v:(i+1)*v])
		}
	}
	if h.W.wants() {
		h.headGradW(n)
	}
	if dHidden == nil {
		return
	}
	h.headGradHidden(n)
	for i, r := range rows.Row[lo:hi] {
		kernel.AddTo(dHidden[int(r)*d:(int(r)+1)*d], h.dHidden[i*d:(i+1)*d])
	}
}

// headGradPart: with l = logp of every token, H the entropy, a and e the derivatives by the target's log-prob and by H,
//
//	d/dz = ( a (onehot - p) - e p (l + H) ) / T
func headGradPart(j *headJob, _, i int) {
	z, s := j.row(i), j.h.stats[i]
	inv := inverseTemp(j.temp(i))
	id := j.rows.Target[j.lo+i]
	var a, e float32
	if id >= 0 {
		a = j.dLogp[i] * inv
	}
	if j.dEntropy != nil {
		e = j.dEntropy[i] * inv
	}
	if a == 0 && e == 0 {
		clear(z)
		return
	}
	kernel.HeadGrad(z, z, inv, s.LSE, -(a + e*s.Entropy), -e)
	if id >= 0 {
		z[id] += a
	}
}
