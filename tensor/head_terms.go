package tensor

import "github.com/hone-lm/hone/tensor/internal/kernel"

// Terms are functions of whole rows of logits, for losses that the target's log-prob and the entropy do not cover. Score and Fused call Read
// for every entry, Fused and Grad call Add. All but Chunk run on several goroutines, each entry on one.
type Terms interface {
	// Chunk says that entries lo to hi come next, before any other call for them: the place to get more rows ready.
	Chunk(lo, hi int)
	// Read sees the logits of entry i divided by its temperature, [vocabulary], and their Stats (of which Max is before the division).
	Read(i int, logits []float32, s Stats)
	// Add adds the derivative of the loss by those logits to d, [vocabulary], zero on entry, and reports whether there was one. By then
	// the derivatives by log-probs and entropies are known.
	Add(i int, logits []float32, s Stats, d []float32) bool
}

// Tempered returns the logits of entries lo to hi divided by their temperatures, [hi-lo][vocabulary], and their Stats: what Terms would see of
// another model. Both lie in the head's memory until it is used again.
func (h *Head) Tempered(hidden *Tensor, rows HeadRows, lo, hi int) ([]float32, []Stats) {
	check("Head", "hidden", hidden, -1, h.W.Cols)
	checkIndex("Head", "row", rows.Row[lo:hi], hidden.Rows)
	rows.Terms = nil
	h.fit(hi - lo)
	h.forward(hidden, rows, lo, hi)
	h.each(temperPart)
	return h.logits, h.stats
}

func temperPart(j *headJob, _, i int) {
	if inv := inverseTemp(j.temp(i)); inv != 1 {
		kernel.Scale(j.row(i), j.row(i), inv)
	}
}

// roomForTerms makes the buffers of each part of a section.
func (h *Head) roomForTerms() {
	n := maxParts() * 2 * h.W.Rows
	if cap(h.term) < n {
		h.term = make([]float32, n)
	}
	h.term = h.term[:n]
	clear(h.term)
}

// read hands the chunk's rows to the terms.
func (h *Head) read(rows HeadRows, lo, hi int) {
	if rows.Terms != nil {
		rows.Terms.Chunk(lo, hi)
		h.each(termReadPart)
	}
}

func termReadPart(j *headJob, part, i int) {
	j.rows.Terms.Read(j.lo+i, j.tempered(part, i), j.h.stats[i])
}

// tempered returns row i divided by its temperature: the row itself at temperature 1.
func (j *headJob) tempered(part, i int) []float32 {
	z, inv := j.row(i), inverseTemp(j.temp(i))
	if inv == 1 {
		return z
	}
	out := j.h.term[part*2*len(z):][:len(z)]
	kernel.Scale(out, z, inv)
	return out
}

// termGradPart is headGradPart with what the terms add, d / T.
func termGradPart(j *headJob, part, i int) {
	z := j.row(i)
	d := j.h.term[(part*2+1)*len(z):][:len(z)]
	added := j.rows.Terms.Add(j.lo+i, j.tempered(part, i), j.h.stats[i], d)
	headGradPart(j, part, i)
	if added {
		kernel.Axpy(z, inverseTemp(j.temp(i)), d)
		clear(d)
	}
}
