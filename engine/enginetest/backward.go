package enginetest

import (
	"context"
	"fmt"
	"math"

	"github.com/hone-lm/hone/engine"
)

// columns are what objectives read and write of one sequence.
type columns struct {
	logp, entropy   []float32
	dLogp, dEntropy []float64
}

// Backward implements engine.Engine: the derivatives of all objectives, of every scope, then the exact gradient of the table. Each distinct
// sequence is read once. After an error the gradient is cleared.
func (t *Table) Backward(ctx context.Context, b *engine.Batch) (engine.Stats, error) {
	stats := engine.Stats{}
	if err := b.Check(t.Info()); err != nil {
		return stats, err
	}
	seqs := b.Sequences()
	scores, err := t.score(seqs, engine.Want{Entropy: true}, t.context)
	if err != nil {
		return stats, err
	}
	cols := map[*engine.Sequence]*columns{}
	for i, s := range seqs {
		n := len(s.Tokens)
		cols[s] = &columns{scores[i].LogProb, scores[i].Entropy, make([]float64, n), make([]float64, n)}
		stats.Tokens += n
		stats.Trained += trained(b, s)
	}
	for i := range b.Streams {
		s := &b.Streams[i]
		st := engine.StreamStats{Name: s.Name}
		for _, views := range scopes(s, cols) {
			st.Loss += s.Obj.Eval(views, &st.Tally)
		}
		stats.Streams = append(stats.Streams, st)
		if math.IsNaN(st.Loss) || math.IsInf(st.Loss, 0) {
			clear(t.grad)
			t.pending = false
			return stats, fmt.Errorf("stream %q: the loss is %g: nothing was updated", s.Name, st.Loss)
		}
	}
	for _, s := range seqs {
		t.accumulate(s, cols[s])
	}
	stats.Sequences = len(seqs)
	t.pending = t.pending || len(seqs) > 0
	return stats, nil
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
func scopes(s *engine.Stream, cols map[*engine.Sequence]*columns) [][]engine.View {
	var out [][]engine.View
	unit := map[int64]int{}
	for i := range s.Rows {
		r := &s.Rows[i]
		c := cols[r.Seq]
		v := engine.View{Row: r, To: len(r.Seq.Tokens), LogProb: c.logp, Entropy: c.entropy, DLogProb: c.dLogp, DEntropy: c.dEntropy}
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

// accumulate adds d log p_y / d z_k = (1[k = y] - p_k) / T and d H / d z_k = -p_k (log p_k + H) / T, times what the objectives gave.
func (t *Table) accumulate(s *engine.Sequence, c *columns) {
	row := make([]float64, t.Vocab)
	temp := s.Temperature()
	for at := 1; at < len(s.Tokens); at++ {
		if c.dLogp[at] == 0 && c.dEntropy[at] == 0 {
			continue
		}
		h := t.logProbs(s.Tokens, at, temp, row)
		g := t.grad[t.row(s.Tokens, at):][:t.Vocab]
		for k, lp := range row {
			d := -math.Exp(lp) * (c.dLogp[at] + c.dEntropy[at]*(lp+h))
			if k == int(s.Tokens[at]) {
				d += c.dLogp[at]
			}
			g[k] += d / float64(temp)
		}
	}
}
