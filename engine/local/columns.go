package local

import (
	"fmt"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/tensor"
)

// columns hold what objectives read and write, one entry a token, sequence after sequence: those of a micro-batch, or of the whole step for
// objectives of batch scope. What no stream counts reads as 0.
type columns struct {
	logp, entropy, value []float32
	dLogp, dEnt, dValue  []float64
	last                 []float32    // [sequence] value after its last token
	term                 []termColumn // [stream]; empty for streams without a row term
}

type termColumn struct {
	value []float32
	d     []float64
}

// scratch are the buffers of Backward.
type scratch struct {
	columns // of the micro-batch
	rows    headRows
	terms   rowTerms
	headL   []float32 // [head row] log-probs, then derivatives
	headE   []float32 // the same of entropies
	values  []float32 // [row of the input] of the value head, then derivatives: of hidden states
	views   []engine.View
	mine    []rowAt
	step    scored
}

// rowAt is a row of a stream and the number of its sequence in the micro-batch.
type rowAt struct{ row, doc int }

// room returns n zeros, in x's memory when it is large enough.
func room[T float32 | float64](x []T, n int) []T {
	if cap(x) < n {
		return make([]T, n)
	}
	x = x[:n]
	clear(x)
	return x
}

// fit makes room, all zeros, for the columns that the streams need.
func (c *columns) fit(tokens, seqs int, needs []engine.Want) {
	c.logp, c.entropy, c.dLogp, c.dEnt = room(c.logp, tokens), room(c.entropy, tokens), room(c.dLogp, tokens), room(c.dEnt, tokens)
	if len(c.term) < len(needs) {
		c.term = append(c.term, make([]termColumn, len(needs)-len(c.term))...)
	}
	value := false
	for i := range needs {
		value = value || needs[i].Value
		if t := &c.term[i]; needs[i].Term != nil {
			t.value, t.d = room(t.value, tokens), room(t.d, tokens)
		}
	}
	if value {
		c.value, c.dValue, c.last = room(c.value, tokens), room(c.dValue, tokens), room(c.last, seqs)
	}
}

// view shows an objective the tokens [from, to) of a row whose sequence is number seq in the columns and begins at base.
func (c *columns) view(r *engine.Row, stream int, need *engine.Want, seq, base, from, to int) engine.View {
	lo, hi := base+from, base+to
	v := engine.View{Row: r, From: from, To: to, LogProb: c.logp[lo:hi], Entropy: c.entropy[lo:hi], DLogProb: c.dLogp[lo:hi], DEntropy: c.dEnt[lo:hi]}
	if need.Value {
		v.Value, v.DValue, v.LastValue = c.value[lo:hi], c.dValue[lo:hi], c.last[seq]
	}
	if need.Term != nil {
		v.Term, v.DTerm = c.term[stream].value[lo:hi], c.term[stream].d[lo:hi]
	}
	return v
}

// take spreads the head's results over the tokens and stops at the first that is not a number.
func (p *pass) take(micro []int, lo, hi int, logp, entropy []float32) error {
	w, lay := &p.e.work, &p.e.lay
	for k := lo; k < hi; k++ {
		l := logp[k-lo]
		if l-l != 0 {
			s := p.seqs[micro[w.rows.seq[k]]]
			return fmt.Errorf("sequence %s: the log-prob of token %d (id %d) is %g: the model's weights or its input are not finite; nothing was updated", name(s), w.rows.tok[k], s.Tokens[w.rows.tok[k]], l)
		}
		at := lay.seqs[w.rows.seq[k]].base + w.rows.tok[k]
		w.logp[at], w.entropy[at] = l, entropy[k-lo]
	}
	return w.terms.check(lo, hi)
}

// give rounds derivatives to float32 in the order of the head's rows.
func (w *scratch) give(lay *layout, lo, hi int, dLogp, dEntropy []float32) {
	for k := lo; k < hi; k++ {
		at := lay.seqs[w.rows.seq[k]].base + w.rows.tok[k]
		dLogp[k-lo], dEntropy[k-lo] = float32(w.dLogp[at]), float32(w.dEnt[at])
	}
}

// readValues fills the value column: token t has the value of the hidden state before it.
func (w *scratch) readValues(h *tensor.ValueHead, hidden *tensor.Tensor, lay *layout) {
	w.values = room(w.values, hidden.Rows)
	h.Score(hidden, w.values)
	for k := range lay.seqs {
		l := &lay.seqs[k]
		if l.n == 0 {
			continue
		}
		for t := 1; t < l.n; t++ {
			w.value[l.base+t] = w.values[l.row(t-1)]
		}
		w.last[k] = w.values[l.row(l.n-1)]
	}
}

// giveValues rounds the derivatives by values to float32 and returns them in the order of the hidden states; those of a shared one are added up.
func (w *scratch) giveValues(lay *layout) []float32 {
	for k := range lay.seqs {
		l := &lay.seqs[k]
		for t := range l.n {
			d := float32(0)
			if t+1 < l.n {
				d = float32(w.dValue[l.base+t+1])
			}
			if row := l.row(t); t < l.shared {
				w.values[row] += d
			} else {
				w.values[row] = d
			}
		}
	}
	return w.values
}
