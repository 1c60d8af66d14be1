package local

import (
	"context"
	"fmt"
	"math"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/tensor"
)

// place says where a row of the batch lies.
type place struct{ stream, row int }

// pass is the Backward of those streams of a batch that go to one gradient buffer.
type pass struct {
	e      *Engine
	b      *engine.Batch
	stats  *engine.Stats
	in     []bool        // [stream] belongs to the pass
	needs  []engine.Want // [stream]
	seqs   []*engine.Sequence
	number map[*engine.Sequence]int
	rowsOf [][]place // [sequence]
	whole  bool      // some objective wants whole rows: logits are computed twice
	value  bool      // some objective reads the value head
	scored *scored   // of batch-scope streams, nil without one
}

// Backward implements engine.Engine: for each micro-batch one forward pass, the objectives, one backward pass. Derivatives are computed in
// float64 and rounded to float32 weights, the same road that a remote engine takes. Objectives of batch scope are called once, after a
// first pass over their sequences. After an error the whole gradient is cleared.
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
	if err := e.checkBatch(b); err != nil {
		return stats, err
	}
	var into []string // gradient buffers, in order of appearance
	for i := range b.Streams {
		stats.Streams = append(stats.Streams, engine.StreamStats{Name: b.Streams[i].Name})
		into = appendNew(into, b.Streams[i].Into)
	}
	for _, name := range into {
		if err := e.backwardInto(ctx, b, name, &stats); err != nil {
			e.clear()
			e.clearBuffers(into)
			return stats, err
		}
	}
	stats.Sequences = len(b.Sequences())
	if len(into) > 1 { // a token may be in several passes
		stats.Trained = trained(b)
	}
	return stats, nil
}

func appendNew(list []string, name string) []string {
	for _, n := range list {
		if n == name {
			return list
		}
	}
	return append(list, name)
}

// checkBatch refuses sequences that a model cannot run and teachers that the engine cannot reach, and makes the value head that a stream reads.
func (e *Engine) checkBatch(b *engine.Batch) error {
	for _, s := range b.Sequences() {
		if err := e.live.check(s); err != nil {
			return err
		}
	}
	for i := range b.Streams {
		s := &b.Streams[i]
		need := s.Obj.Needs()
		if need.Value {
			e.critic()
		}
		if need.Term == nil {
			continue
		}
		teacher, err := teacherOf(need.Term, e.live)
		if err != nil {
			return fmt.Errorf("stream %q: %w", s.Name, err)
		}
		for k := range s.Rows {
			if teacher == nil {
				break
			}
			if err := teacher.check(s.Rows[k].Seq); err != nil {
				return fmt.Errorf("stream %q: row term %s: its teacher: %w", s.Name, need.Term.Name(), err)
			}
		}
	}
	return nil
}

// backwardInto runs the streams that go to one gradient buffer.
func (e *Engine) backwardInto(ctx context.Context, b *engine.Batch, name string, stats *engine.Stats) error {
	p := &pass{e: e, b: b, stats: stats, number: map[*engine.Sequence]int{}}
	batch := false
	for i := range b.Streams {
		s := &b.Streams[i]
		p.in, p.needs = append(p.in, s.Into == name), append(p.needs, engine.Want{})
		if !p.in[i] {
			continue
		}
		p.needs[i] = s.Obj.Needs()
		p.value = p.value || p.needs[i].Value
		batch = batch || p.batchScope(i)
		p.whole = p.whole || s.Obj.Scope() == engine.ScopeSequence || s.Obj.Scope() == engine.ScopeUnit
		for k := range s.Rows {
			at, known := p.number[s.Rows[k].Seq]
			if !known {
				at = len(p.seqs)
				p.number[s.Rows[k].Seq] = at
				p.seqs, p.rowsOf = append(p.seqs, s.Rows[k].Seq), append(p.rowsOf, nil)
			}
			p.rowsOf[at] = append(p.rowsOf[at], place{i, k})
		}
	}
	e.added(name, len(p.seqs) > 0)
	defer e.into(name)()
	if batch {
		if err := p.scoreStep(ctx); err != nil {
			return err
		}
	}
	for _, micro := range pack(p.seqs, e.opt) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := p.backward(micro); err != nil {
			return err
		}
	}
	return nil
}

func (p *pass) batchScope(stream int) bool {
	return p.in[stream] && p.b.Streams[stream].Obj.Scope() == engine.ScopeBatch
}

// clear drops the optimiser's gradient gathered so far: part of a step must not be taken for the whole.
func (e *Engine) clear() {
	e.adam.ZeroGrad()
	e.grads = false
}

// forward runs the model over a micro-batch. The rows asked of the head are the tokens that a stream counts; with scoring those of batch-scope
// streams alone, and nothing is recorded.
func (p *pass) forward(micro []int, scoring bool) (*tensor.Tensor, error) {
	e, w := p.e, &p.e.work
	w.rows.reset()
	e.in.Recompute = e.opt.Recompute
	e.lay.fill(&e.in, p.seqs, micro, e.opt.SharePrompts)
	for i, at := range micro {
		s, l := p.seqs[at], &e.lay.seqs[i]
		for t := 1; t < len(s.Tokens); t++ {
			if p.counted(at, t, scoring) {
				w.rows.add(i, t, l.row(t-1), s.Tokens[t], s.Temperature())
			}
		}
	}
	p.stats.Tokens += len(e.in.Tokens)
	w.fit(e.lay.tokens, len(micro), p.needs)
	w.headL, w.headE = room(w.headL, len(w.rows.Row)), room(w.headE, len(w.rows.Row))

	if n := len(e.in.Tokens); n > e.reserved { // nobody asked beforehand whether it fits
		e.reserve(engine.Work{Longest: min(n, e.opt.Context), Rows: (n + e.opt.Context - 1) / e.opt.Context})
	}
	if e.live.m.Adapter() != nil { // the weights under it stay as they are
		e.live.pack()
	}
	e.tape.Reset()
	e.tape.Record(!scoring)
	hidden := e.live.m.Forward(e.tape, &e.in)
	e.head.W = e.live.m.HeadWeight()
	if p.value {
		w.readValues(e.live.m.ValueHead(), hidden, &e.lay)
	}
	return hidden, p.bindTerms(micro, scoring, hidden)
}

// counted reports whether a stream has token t of a sequence in its mask.
func (p *pass) counted(seq, t int, scoring bool) bool {
	for _, at := range p.rowsOf[seq] {
		if p.b.Streams[at.stream].Rows[at.row].Mask[t] && (!scoring || p.batchScope(at.stream)) {
			return true
		}
	}
	return false
}

// backward adds the gradient of a micro-batch.
func (p *pass) backward(micro []int) error {
	e, w := p.e, &p.e.work
	hidden, err := p.forward(micro, false)
	if err != nil {
		return err
	}
	p.stats.Trained += len(w.rows.Row)
	if p.scored != nil {
		p.seed(micro)
	}
	dHidden := e.tape.GradOf(hidden)
	if !p.whole {
		e.head.Fused(hidden, w.rows.HeadRows, dHidden, func(lo, hi int, logp, entropy, dLogp, dEntropy []float32) {
			if err != nil {
				return
			}
			if err = p.take(micro, lo, hi, logp, entropy); err != nil {
				return
			}
			p.tokenLosses(micro, lo, hi)
			w.give(&e.lay, lo, hi, dLogp, dEntropy)
		})
	} else {
		n := len(w.rows.Row)
		sc := tensor.HeadScores{LogProb: w.headL, Entropy: w.headE}
		e.head.Score(hidden, w.rows.HeadRows, &sc)
		if err = p.take(micro, 0, n, sc.LogProb, sc.Entropy); err == nil {
			p.wholeLosses(micro)
			w.give(&e.lay, 0, n, w.headL, w.headE)
			e.head.Grad(hidden, w.rows.HeadRows, w.headL, w.headE, dHidden)
		}
	}
	if err == nil && p.scored != nil {
		err = p.asScored(micro)
	}
	if err == nil {
		err = p.checkLosses(name(p.seqs[micro[len(micro)-1]]))
	}
	if err != nil {
		return err
	}
	if p.value {
		e.live.m.ValueHead().Grad(hidden, w.giveValues(&e.lay), dHidden)
	}
	e.tape.Backward()
	return nil
}

func (p *pass) checkLosses(after string) error {
	for i := range p.stats.Streams {
		if l := p.stats.Streams[i].Loss; math.IsNaN(l) || math.IsInf(l, 0) {
			return fmt.Errorf("stream %q: the loss is %g after sequence %s: nothing was updated", p.stats.Streams[i].Name, l, after)
		}
	}
	return nil
}

// trained counts the tokens of a batch that are in at least one mask.
func trained(b *engine.Batch) int {
	in := map[*engine.Sequence][]bool{}
	n := 0
	for i := range b.Streams {
		for _, r := range b.Streams[i].Rows {
			if in[r.Seq] == nil {
				in[r.Seq] = make([]bool, len(r.Seq.Tokens))
			}
			for t, m := range r.Mask {
				if m && !in[r.Seq][t] {
					in[r.Seq][t] = true
					n++
				}
			}
		}
	}
	return n
}
