package local

import (
	"context"
	"errors"
	"fmt"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/tensor"
)

var _ engine.Fitter = (*Engine)(nil)

// largest returns the lengths of the documents of the largest micro-batch that work can bring: as many of the longest sequences as fill the
// budget, and no more than an update has. What is longer than the budget (a sequence, or the pair of a unit) runs alone.
func (e *Engine) largest(w engine.Work) (docs []int) {
	longest := max(w.Longest, 2)
	tokens := max(e.opt.MicroTokens, longest)
	if w.Rows > 0 {
		tokens = min(tokens, w.Rows*longest)
	}
	for one := min(longest, e.opt.Context); tokens >= 2; tokens -= one { // nothing is predicted in a document of one token
		one = min(one, tokens)
		docs = append(docs, one)
	}
	return docs
}

// tokens counts those of the largest micro-batch.
func (e *Engine) tokens(w engine.Work) (n int) {
	for _, doc := range e.largest(w) {
		n += doc
	}
	return n
}

// forward returns the forward pass of the largest micro-batch, for Tape.Plan.
func (e *Engine) forward(w engine.Work) func(*tensor.Tape) {
	in := e.live.piece(e.tokens(w))
	in.Recompute = e.opt.Recompute
	return func(t *tensor.Tape) { e.live.m.Forward(t, in) }
}

// Memory implements engine.Fitter. Activations are exact; the garbage collector's reserve is not in the plan.
func (e *Engine) Memory(w engine.Work) (engine.Memory, error) {
	if err := e.mu.enter(); err != nil {
		return engine.Memory{}, err
	}
	defer e.mu.Unlock()
	m := e.live.m
	trained := int64(0)
	for _, p := range m.Params() {
		trained += int64(p.Rows * p.Cols)
	}
	plan := engine.Memory{Weights: m.Bytes(), Optimiser: 12 * trained}
	if e.opt.bf16() && (m.Adapter() != nil || w.Sample > 0) {
		plan.Weights += m.PackedBF16()
	}
	head := tensor.Head{W: m.HeadWeight()}
	pass := e.forward(w)
	m.Rehearse(func() { plan.Activations = tensor.NewTape().Plan(pass) + head.Bytes() })
	if w.Frozen > 0 { // they score micro-batches of the same size, without a gradient
		scoring := tensor.NewTape().Plan(func(t *tensor.Tape) { t.Record(false); pass(t) })
		plan.Frozen = int64(w.Frozen) * (4*trained + scoring + head.Bytes())
	}
	if w.Sample > 0 {
		slots := e.opt.Slots
		if w.Answers > 0 {
			slots = min(slots, w.Answers)
		}
		cache := e.live.batch.pages // what was sampled stays in it until the weights change or its room is needed
		pages := min(cache.limit, max(slots, w.Answers)*pagesOf(min(w.Sample, e.opt.Context)))
		piece := e.live.piece(prefillRows)
		pass := tensor.NewTape().Plan(func(t *tensor.Tape) { t.Record(false); m.Forward(t, piece) })
		plan.Cache = int64(pages)*cache.kv.PageBytes() + pass + 8*int64(slots)*int64(m.Config.Vocab) // a row of logits and one of probabilities for each sequence
	}
	return plan, nil
}

// reserve gives the tape the room that work takes at its peak, in one piece: growing piece by piece would hold the old room beside the new.
func (e *Engine) reserve(w engine.Work) {
	if tokens := e.tokens(w); tokens > e.reserved {
		e.reserved = tokens
		e.tape.Plan(e.forward(w))
	}
}

// Fit implements engine.Fitter.
func (e *Engine) Fit(ctx context.Context, w engine.Work) error {
	if err := e.mu.enter(); err != nil {
		return err
	}
	defer e.mu.Unlock()
	if e.grads {
		return errors.New("fit: there is a gradient that no step has taken: fit before Backward")
	}
	if err := e.trainable(); err != nil {
		return err
	}
	e.reserve(w)
	s := engine.Stream{Name: "fit", Obj: still{}, Coef: 1, Norm: engine.SumNorm}
	for i, n := range e.largest(w) {
		seq := &engine.Sequence{ID: engine.ItemID{Problem: "the longest batch", Sample: i}, Tokens: make([]int32, n)}
		mask := make([]bool, n)
		for t := 1; t < n; t++ {
			mask[t] = true
		}
		s.Rows = append(s.Rows, engine.Row{Seq: seq, Mask: mask, Scale: 1})
	}
	stats := engine.Stats{Streams: []engine.StreamStats{{Name: s.Name}}}
	err := e.backwardInto(ctx, &engine.Batch{Streams: []engine.Stream{s}}, "", &stats)
	e.clear()
	if err != nil {
		return fmt.Errorf("fit: %w", err)
	}
	return ctx.Err()
}

// still is an objective whose loss is 0 everywhere.
type still struct{}

func (still) Name() string                                  { return "still" }
func (still) Scope() engine.Scope                           { return engine.ScopeToken }
func (still) Needs() engine.Want                            { return engine.Want{} }
func (still) Eval([]engine.View, *engine.Tally) (l float64) { return 0 }
