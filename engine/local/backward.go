package local

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/tensor"
)

// scratch are the buffers of Backward, one entry for each token of a micro-batch.
type scratch struct {
	rows          headRows
	logp, entropy []float32
	dLogp, dEnt   []float64
	headL, headE  []float32 // derivatives in the order of the head's rows
	views         []engine.View
	mine          []rowAt
}

// rowAt is a row of a stream and its document in the micro-batch.
type rowAt struct{ row, doc int }

// place says where a row of the batch lies.
type place struct{ stream, row int }

// Backward implements engine.Engine: for each micro-batch one forward pass, the objectives, one backward pass. Derivatives are computed in
// float64 and rounded to float32 weights, the same road that a remote engine takes. After an error the whole gradient is cleared.
func (e *Engine) Backward(ctx context.Context, b *engine.Batch) (engine.Stats, error) {
	stats := engine.Stats{}
	if err := e.mu.enter(); err != nil {
		return stats, err
	}
	defer e.mu.Unlock()
	if err := b.Check(engine.Info{Engine: "local", Caps: caps}); err != nil {
		return stats, err
	}
	if err := e.trainable(); err != nil {
		return stats, err
	}
	seqs := b.Sequences()
	number := make(map[*engine.Sequence]int, len(seqs))
	for i, s := range seqs {
		if err := e.live.check(s); err != nil {
			return stats, err
		}
		number[s] = i
	}
	rowsOf := make([][]place, len(seqs))
	fused := true
	for i := range b.Streams {
		s := &b.Streams[i]
		stats.Streams = append(stats.Streams, engine.StreamStats{Name: s.Name})
		fused = fused && s.Obj.Scope() == engine.ScopeToken
		for k := range s.Rows {
			at := number[s.Rows[k].Seq]
			rowsOf[at] = append(rowsOf[at], place{i, k})
		}
	}
	for _, micro := range pack(seqs, e.opt.MicroTokens) {
		err := ctx.Err()
		if err == nil {
			err = e.backwardMicro(b, seqs, micro, rowsOf, fused, &stats)
		}
		if err != nil {
			e.clear()
			return stats, err
		}
	}
	stats.Sequences = len(seqs)
	e.grads = e.grads || len(seqs) > 0
	return stats, nil
}

// clear drops the gradient gathered so far: part of a step must not be taken for the whole.
func (e *Engine) clear() {
	e.adam.ZeroGrad()
	e.grads = false
}

func (e *Engine) backwardMicro(b *engine.Batch, seqs []*engine.Sequence, micro []int, rowsOf [][]place, fused bool, stats *engine.Stats) error {
	w := &e.work
	w.rows.reset()
	e.in.Recompute = e.opt.Recompute
	fillInput(&e.in, seqs, micro)
	for i, at := range micro {
		s, from := seqs[at], e.in.Docs[i].From
		for t := 1; t < len(s.Tokens); t++ {
			if counted(b, rowsOf[at], t) {
				w.rows.add(i, t, int32(from+t-1), s.Tokens[t], s.Temperature())
			}
		}
	}
	stats.Tokens += len(e.in.Tokens)
	stats.Trained += len(w.rows.Row)
	w.fit(len(e.in.Tokens), len(w.rows.Row))

	e.tape.Reset()
	e.tape.Record(true)
	hidden := e.live.m.Forward(e.tape, &e.in)
	e.head.W = e.live.m.HeadWeight()
	dHidden := e.tape.GradOf(hidden)
	var err error
	if fused {
		e.head.Fused(hidden, w.rows.HeadRows, dHidden, func(lo, hi int, logp, entropy, dLogp, dEntropy []float32) {
			if err != nil {
				return
			}
			if err = w.take(seqs, micro, e.in.Docs, lo, hi, logp, entropy); err != nil {
				return
			}
			e.tokenLosses(b, micro, rowsOf, lo, hi, stats)
			w.give(e.in.Docs, lo, hi, dLogp, dEntropy)
		})
	} else {
		n := len(w.rows.Row)
		sc := tensor.HeadScores{LogProb: w.headL[:n], Entropy: w.headE[:n]}
		e.head.Score(hidden, w.rows.HeadRows, &sc)
		if err = w.take(seqs, micro, e.in.Docs, 0, n, sc.LogProb, sc.Entropy); err == nil {
			e.wholeLosses(b, micro, rowsOf, stats)
			w.give(e.in.Docs, 0, n, w.headL[:n], w.headE[:n])
			e.head.Grad(hidden, w.rows.HeadRows, w.headL[:n], w.headE[:n], dHidden)
		}
	}
	if err != nil {
		return err
	}
	for i := range stats.Streams {
		if l := stats.Streams[i].Loss; math.IsNaN(l) || math.IsInf(l, 0) {
			return fmt.Errorf("stream %q: the loss is %g after sequence %s: nothing was updated", stats.Streams[i].Name, l, name(seqs[micro[len(micro)-1]]))
		}
	}
	e.tape.Backward()
	return nil
}

func counted(b *engine.Batch, rows []place, t int) bool {
	for _, p := range rows {
		if b.Streams[p.stream].Rows[p.row].Mask[t] {
			return true
		}
	}
	return false
}

func (w *scratch) fit(tokens, rows int) {
	if cap(w.logp) < tokens {
		w.logp, w.entropy = make([]float32, tokens), make([]float32, tokens)
		w.dLogp, w.dEnt = make([]float64, tokens), make([]float64, tokens)
	}
	w.logp, w.entropy, w.dLogp, w.dEnt = w.logp[:tokens], w.entropy[:tokens], w.dLogp[:tokens], w.dEnt[:tokens]
	clear(w.logp) // what no stream counts reads as 0
	clear(w.entropy)
	clear(w.dLogp)
	clear(w.dEnt)
	if cap(w.headL) < rows {
		w.headL, w.headE = make([]float32, rows), make([]float32, rows)
	}
}

// take spreads the head's results over the tokens and stops at the first that is not a number.
func (w *scratch) take(seqs []*engine.Sequence, micro []int, docs []tensor.Doc, lo, hi int, logp, entropy []float32) error {
	for k := lo; k < hi; k++ {
		l := logp[k-lo]
		if l-l != 0 {
			s := seqs[micro[w.rows.seq[k]]]
			return fmt.Errorf("sequence %s: the log-prob of token %d (id %d) is %g: the model's weights or its input are not finite; nothing was updated", name(s), w.rows.tok[k], s.Tokens[w.rows.tok[k]], l)
		}
		at := docs[w.rows.seq[k]].From + w.rows.tok[k]
		w.logp[at], w.entropy[at] = l, entropy[k-lo]
	}
	return nil
}

// give rounds derivatives to float32 in the order of the head's rows.
func (w *scratch) give(docs []tensor.Doc, lo, hi int, dLogp, dEntropy []float32) {
	for k := lo; k < hi; k++ {
		at := docs[w.rows.seq[k]].From + w.rows.tok[k]
		dLogp[k-lo], dEntropy[k-lo] = float32(w.dLogp[at]), float32(w.dEnt[at])
	}
}

// view shows tokens [from, to) of a row whose document starts at doc.
func (w *scratch) view(r *engine.Row, doc, from, to int) engine.View {
	lo, hi := doc+from, doc+to
	return engine.View{Row: r, From: from, To: to, LogProb: w.logp[lo:hi], Entropy: w.entropy[lo:hi], DLogProb: w.dLogp[lo:hi], DEntropy: w.dEnt[lo:hi]}
}

// tokenLosses evaluates token-scope objectives on head rows [lo, hi), sequence by sequence.
func (e *Engine) tokenLosses(b *engine.Batch, micro []int, rowsOf [][]place, lo, hi int, stats *engine.Stats) {
	w := &e.work
	for k := lo; k < hi; {
		seq := w.rows.seq[k]
		end := k
		for end < hi && w.rows.seq[end] == seq {
			end++
		}
		for _, p := range rowsOf[micro[seq]] {
			s := &b.Streams[p.stream]
			w.views = append(w.views[:0], w.view(&s.Rows[p.row], e.in.Docs[seq].From, w.rows.tok[k], w.rows.tok[end-1]+1))
			stats.Streams[p.stream].Loss += s.Obj.Eval(w.views, &stats.Streams[p.stream].Tally)
		}
		k = end
	}
}

// wholeLosses evaluates objectives on whole rows: one at a time, or the rows of a unit together, in the order of their stream.
func (e *Engine) wholeLosses(b *engine.Batch, micro []int, rowsOf [][]place, stats *engine.Stats) {
	w := &e.work
	for i := range b.Streams {
		s, st := &b.Streams[i], &stats.Streams[i]
		w.mine = w.mine[:0]
		for k, at := range micro {
			for _, p := range rowsOf[at] {
				if p.stream == i {
					w.mine = append(w.mine, rowAt{row: p.row, doc: k})
				}
			}
		}
		slices.SortFunc(w.mine, func(a, b rowAt) int { return a.row - b.row })
		done := map[int64]bool{}
		for k, first := range w.mine {
			unit := s.Rows[first.row].Seq.Unit
			together := s.Obj.Scope() == engine.ScopeUnit
			if together && done[unit] {
				continue
			}
			done[unit] = true
			w.views = w.views[:0]
			for j, r := range w.mine[k:] {
				if j == 0 || together && s.Rows[r.row].Seq.Unit == unit {
					row := &s.Rows[r.row]
					w.views = append(w.views, w.view(row, e.in.Docs[r.doc].From, 0, len(row.Seq.Tokens)))
				}
			}
			st.Loss += s.Obj.Eval(w.views, &st.Tally)
		}
	}
}
