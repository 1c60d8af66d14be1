package local

import (
	"context"
	"fmt"
	"slices"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/tensor"
)

// tokenLosses evaluates token-scope objectives on head rows [lo, hi), sequence by sequence.
func (p *pass) tokenLosses(micro []int, lo, hi int) {
	w := &p.e.work
	for k := lo; k < hi; {
		seq := w.rows.seq[k]
		end := k
		for end < hi && w.rows.seq[end] == seq {
			end++
		}
		for _, at := range p.rowsOf[micro[seq]] {
			if p.batchScope(at.stream) {
				continue
			}
			s, st := &p.b.Streams[at.stream], &p.stats.Streams[at.stream]
			w.views = append(w.views[:0], w.view(&s.Rows[at.row], at.stream, &p.needs[at.stream], seq, p.e.lay.seqs[seq].base, w.rows.tok[k], w.rows.tok[end-1]+1))
			st.Loss += s.Obj.Eval(w.views, &st.Tally)
		}
		k = end
	}
}

// wholeLosses evaluates objectives on whole rows: one at a time, or the rows of a unit together, in the order of their stream.
func (p *pass) wholeLosses(micro []int) {
	w := &p.e.work
	for i := range p.b.Streams {
		s, st := &p.b.Streams[i], &p.stats.Streams[i]
		if !p.in[i] || p.batchScope(i) {
			continue
		}
		w.mine = w.mine[:0]
		for k, seq := range micro {
			for _, at := range p.rowsOf[seq] {
				if at.stream == i {
					w.mine = append(w.mine, rowAt{row: at.row, doc: k})
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
					w.views = append(w.views, w.view(row, i, &p.needs[i], r.doc, p.e.lay.seqs[r.doc].base, 0, len(row.Seq.Tokens)))
				}
			}
			st.Loss += s.Obj.Eval(w.views, &st.Tally)
		}
	}
}

// scored are the columns of the sequences of batch-scope streams over the whole step.
type scored struct {
	columns
	at []int // [sequence] where its tokens begin; -1 = it is in no such stream
}

// scoreStep runs the model over the sequences of batch-scope streams and evaluates their objectives, each once on all rows of its stream.
func (p *pass) scoreStep(ctx context.Context) error {
	step := &p.e.work.step
	p.scored = step
	step.at = step.at[:0]
	var seqs []*engine.Sequence
	var number []int // of seqs in the pass
	tokens := 0
	for i, s := range p.seqs {
		at := -1
		if slices.ContainsFunc(p.rowsOf[i], func(r place) bool { return p.batchScope(r.stream) }) {
			at, tokens = tokens, tokens+len(s.Tokens)
			seqs, number = append(seqs, s), append(number, i)
		}
		step.at = append(step.at, at)
	}
	step.fit(tokens, len(p.seqs), p.needs)
	for _, micro := range pack(seqs, p.e.opt) {
		if err := ctx.Err(); err != nil {
			return err
		}
		for i := range micro {
			micro[i] = number[micro[i]]
		}
		if err := p.score(micro); err != nil {
			return err
		}
	}
	w := &p.e.work
	for i := range p.b.Streams {
		if !p.batchScope(i) {
			continue
		}
		s, st := &p.b.Streams[i], &p.stats.Streams[i]
		w.views = w.views[:0]
		for k := range s.Rows {
			seq := p.number[s.Rows[k].Seq]
			w.views = append(w.views, step.view(&s.Rows[k], i, &p.needs[i], seq, step.at[seq], 0, len(s.Rows[k].Seq.Tokens)))
		}
		st.Loss += s.Obj.Eval(w.views, &st.Tally)
	}
	if len(seqs) == 0 {
		return nil
	}
	return p.checkLosses(name(seqs[len(seqs)-1]))
}

// score keeps the columns of a micro-batch for the step.
func (p *pass) score(micro []int) error {
	e, w, step := p.e, &p.e.work, p.scored
	hidden, err := p.forward(micro, true)
	if err != nil {
		return err
	}
	e.head.Score(hidden, w.rows.HeadRows, &tensor.HeadScores{LogProb: w.headL, Entropy: w.headE})
	if err := p.take(micro, 0, len(w.rows.Row), w.headL, w.headE); err != nil {
		return err
	}
	for k, seq := range micro {
		from, at := e.lay.seqs[k].base, step.at[seq]
		to := from + e.lay.seqs[k].n
		copy(step.logp[at:], w.logp[from:to])
		copy(step.entropy[at:], w.entropy[from:to])
		if p.value {
			copy(step.value[at:], w.value[from:to])
			step.last[seq] = w.last[k]
		}
		for i := range p.needs {
			if p.batchScope(i) && p.needs[i].Term != nil {
				copy(step.term[i].value[at:], w.term[i].value[from:to])
			}
		}
	}
	return nil
}

// seed puts the derivatives of batch-scope objectives into the columns of a micro-batch.
func (p *pass) seed(micro []int) {
	w, step := &p.e.work, p.scored
	for k, seq := range micro {
		from, at := p.e.lay.seqs[k].base, step.at[seq]
		if at < 0 {
			continue
		}
		end := at + len(p.seqs[seq].Tokens)
		copy(w.dLogp[from:], step.dLogp[at:end])
		copy(w.dEnt[from:], step.dEnt[at:end])
		if p.value {
			copy(w.dValue[from:], step.dValue[at:end])
		}
		for i := range p.needs {
			if p.batchScope(i) && p.needs[i].Term != nil {
				copy(w.term[i].d[from:], step.term[i].d[at:end])
			}
		}
	}
}

// asScored wants the log-probs of batch-scope streams to have the bytes of the first pass, on which their derivatives were computed.
func (p *pass) asScored(micro []int) error {
	w, step := &p.e.work, p.scored
	for k, seq := range micro {
		from := p.e.lay.seqs[k].base
		for _, r := range p.rowsOf[seq] {
			if !p.batchScope(r.stream) {
				continue
			}
			for t, m := range p.b.Streams[r.stream].Rows[r.row].Mask {
				if first, now := step.logp[step.at[seq]+t], w.logp[from+t]; m && first != now {
					return fmt.Errorf("sequence %s: token %d has log-prob %v in the first pass of a batch objective and %v in the second: this is a fault of the engine, please report it; nothing was updated", name(p.seqs[seq]), t, first, now)
				}
			}
		}
	}
	return nil
}
