package enginetest

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/hone-lm/hone/engine"
)

// columns are what objectives read and write of one sequence.
type columns struct {
	logp, entropy, value    []float32
	last                    float32
	dLogp, dEntropy, dValue []float64
	terms                   map[int]*termColumn // by stream
}

type termColumn struct {
	value []float32
	d     []float64
}

// Backward implements engine.Engine: the derivatives of all objectives, of every scope, then the exact gradient of the table. Each distinct
// sequence is read once for each gradient buffer. After an error the gradient is cleared.
func (t *Table) Backward(ctx context.Context, b *engine.Batch) (engine.Stats, error) {
	stats := engine.Stats{}
	if err := b.Check(t.Info()); err != nil {
		return stats, err
	}
	seqs := b.Sequences()
	for _, s := range seqs {
		if err := t.check(s, t.context); err != nil {
			return stats, err
		}
		stats.Trained += trained(b, s)
	}
	var into []string
	for i := range b.Streams {
		stats.Streams = append(stats.Streams, engine.StreamStats{Name: b.Streams[i].Name})
		if !slices.Contains(into, b.Streams[i].Into) {
			into = append(into, b.Streams[i].Into)
		}
	}
	for _, name := range into {
		if err := t.backwardInto(b, name, &stats); err != nil {
			for _, name := range append(into, "") {
				clear(t.buffer(name))
			}
			t.pending = false
			return stats, err
		}
	}
	stats.Sequences = len(seqs)
	return stats, nil
}

// backwardInto runs the streams that go to one gradient buffer.
func (t *Table) backwardInto(b *engine.Batch, name string, stats *engine.Stats) error {
	cols := map[*engine.Sequence]*columns{}
	var seqs []*engine.Sequence
	for i := range b.Streams {
		s := &b.Streams[i]
		if s.Into != name {
			continue
		}
		if _, err := t.teacher(s.Obj.Needs().Term); err != nil {
			return fmt.Errorf("stream %q: %w", s.Name, err)
		}
		for k := range s.Rows {
			seq := s.Rows[k].Seq
			if cols[seq] == nil {
				sc, n := t.scoreOne(seq, engine.Want{Entropy: true, Value: true}, t), len(seq.Tokens)
				cols[seq] = &columns{sc.LogProb, sc.Entropy, sc.Value, sc.LastValue, make([]float64, n), make([]float64, n), make([]float64, n), map[int]*termColumn{}}
				seqs = append(seqs, seq)
				stats.Tokens += n
			}
			if term := s.Obj.Needs().Term; term != nil {
				t.readTerm(i, &s.Rows[k], term, cols[seq])
			}
		}
	}
	for i := range b.Streams {
		s, st := &b.Streams[i], &stats.Streams[i]
		if s.Into != name {
			continue
		}
		for _, views := range scopes(i, s, cols) {
			st.Loss += s.Obj.Eval(views, &st.Tally)
		}
		if math.IsNaN(st.Loss) || math.IsInf(st.Loss, 0) {
			return fmt.Errorf("stream %q: the loss is %g: nothing was updated", s.Name, st.Loss)
		}
	}
	g := t.buffer(name)
	for _, s := range seqs {
		t.accumulate(b, s, cols[s], g)
	}
	t.pending = t.pending || name == "" && len(seqs) > 0
	return nil
}

// readTerm fills a stream's term column for the tokens in a row's mask.
func (t *Table) readTerm(stream int, r *engine.Row, term engine.RowTerm, c *columns) {
	if c.terms[stream] == nil {
		c.terms[stream] = &termColumn{make([]float32, len(r.Mask)), make([]float64, len(r.Mask))}
	}
	for at, m := range r.Mask {
		if m {
			c.terms[stream].value[at] = term.Value(t.logitRow(term, r.Seq, at, r.Seq.Temperature(), t))
		}
	}
}

// trained counts the tokens of a sequence that are in at least one mask.
func trained(b *engine.Batch, s *engine.Sequence) int {
	in := make([]bool, len(s.Tokens))
	n := 0
	for _, st := range b.Streams {
		for _, r := range st.Rows {
			for t, m := range r.Mask {
				if r.Seq == s && m && !in[t] {
					in[t] = true
					n++
				}
			}
		}
	}
	return n
}

// scopes groups the views of a stream as its objective wants to see them, in the order of the rows.
func scopes(stream int, s *engine.Stream, cols map[*engine.Sequence]*columns) [][]engine.View {
	var out [][]engine.View
	unit := map[int64]int{}
	for i := range s.Rows {
		r := &s.Rows[i]
		c := cols[r.Seq]
		v := engine.View{Row: r, To: len(r.Seq.Tokens), LogProb: c.logp, Entropy: c.entropy, DLogProb: c.dLogp, DEntropy: c.dEntropy}
		if need := s.Obj.Needs(); need.Value {
			v.Value, v.DValue, v.LastValue = c.value, c.dValue, c.last
		}
		if x := c.terms[stream]; x != nil {
			v.Term, v.DTerm = x.value, x.d
		}
		at, known := len(out), false
		switch s.Obj.Scope() {
		case engine.ScopeUnit:
			if at, known = unit[r.Seq.Unit]; !known {
				at = len(out)
				unit[r.Seq.Unit] = at
			}
		case engine.ScopeBatch:
			at, known = 0, i > 0
		}
		if !known {
			out = append(out, nil)
		}
		out[at] = append(out[at], v)
	}
	return out
}

// accumulate adds d log p_y / d z_k = (1[k = y] - p_k) / T and d H / d z_k = -p_k (log p_k + H) / T, times what the objectives gave, with
// the derivatives of row terms, divided by T, and of values.
func (t *Table) accumulate(b *engine.Batch, s *engine.Sequence, c *columns, grad []float64) {
	row := make([]float64, t.Vocab)
	temp := s.Temperature()
	for at := 1; at < len(s.Tokens); at++ {
		grad[t.value(s.Tokens, at)] += c.dValue[at]
		g := grad[t.row(s.Tokens, at):][:t.Vocab]
		for i := range b.Streams {
			if x := c.terms[i]; x != nil && x.d[at] != 0 {
				term, d := b.Streams[i].Obj.Needs().Term, make([]float32, t.Vocab)
				term.Grad(t.logitRow(term, s, at, temp, t), float32(x.d[at]), d)
				for k := range d {
					g[k] += float64(d[k]) / float64(temp)
				}
			}
		}
		if c.dLogp[at] == 0 && c.dEntropy[at] == 0 {
			continue
		}
		h := t.logProbs(s.Tokens, at, temp, row)
		for k, lp := range row {
			d := -math.Exp(lp) * (c.dLogp[at] + c.dEntropy[at]*(lp+h))
			if k == int(s.Tokens[at]) {
				d += c.dLogp[at]
			}
			g[k] += d / float64(temp)
		}
	}
}
