package enginetest

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/hone-lm/hone/engine"
)

// Sample implements engine.Engine. Truncation, penalties, stop strings and rules are refused: their distributions belong to the embedded
// engine's own tests.
func (t *Table) Sample(ctx context.Context, prompts []engine.Prompt) ([][]*engine.Sequence, error) {
	return t.sample(prompts, t.context)
}

func (m *table) sample(prompts []engine.Prompt, context int) ([][]*engine.Sequence, error) {
	out := make([][]*engine.Sequence, len(prompts))
	for i := range prompts {
		p := &prompts[i]
		if err := m.checkPrompt(p, context); err != nil {
			return nil, err
		}
		for k := range p.N {
			w := m.begin(p, k)
			key := p.Key.With(uint64(k))
			for w.seq.Stop == engine.NotStopped && !w.full(context) {
				n := len(w.seq.Tokens)
				h := m.next(w)
				id := int32(slices.Index(h, slices.Max(h)))
				if u, sum := key.Float64(uint64(n)), 0.0; !p.Params.Greedy {
					for i, lp := range h {
						if sum += math.Exp(lp); sum > u || i == len(h)-1 {
							id = int32(i)
							break
						}
					}
				}
				w.add(id, h[id])
			}
			out[i] = append(out[i], w.seq)
		}
	}
	return out, nil
}

func (m *table) checkPrompt(p *engine.Prompt, context int) error {
	q := p.Params
	truncates := q
	truncates.Greedy = false
	switch {
	case len(p.Rules) > 0:
		return &engine.NotYet{Engine: "tabular", What: engine.CapRules}
	case truncates.Truncates() || len(q.Stop) > 0:
		return fmt.Errorf("the tabular engine samples with temperature, greedy, max_tokens and stop ids only")
	case len(p.Seq.Tokens) == 0:
		return fmt.Errorf("sequence %s is empty: sampling needs at least one token to continue", p.Seq.Label())
	case p.N < 0 || q.MaxTokens < 0 || !(q.Temperature >= 0):
		return fmt.Errorf("sampling: n is %d, max_tokens %d, temperature %g: none may be negative", p.N, q.MaxTokens, q.Temperature)
	}
	return m.check(p.Seq, context)
}

// writer is a sequence in the making.
type writer struct {
	p          *engine.Prompt
	seq        *engine.Sequence
	old, drawn []float32
	row        []float64
}

// begin copies the prompt with the channels of earlier turns, and scores forced tokens that have no log-prob yet.
func (m *table) begin(p *engine.Prompt, sample int) *writer {
	n := len(p.Seq.Tokens)
	w := &writer{p: p, seq: &engine.Sequence{ID: p.Seq.ID, Tokens: slices.Clone(p.Seq.Tokens), Kind: make([]engine.Kind, n), Spans: slices.Clone(p.Seq.Spans), Temp: 1},
		old: make([]float32, n), drawn: make([]float32, n), row: make([]float64, m.Vocab)}
	if !p.Params.Greedy && p.Params.Temperature > 0 {
		w.seq.Temp = p.Params.Temperature
	}
	w.seq.ID.Sample = sample
	copy(w.old, p.Seq.Channel(engine.ChanOld))
	copy(w.drawn, p.Seq.Channel(engine.ChanDrawn))
	for t := range n {
		w.seq.Kind[t] = p.Seq.KindAt(t)
		if t > 0 && w.seq.Kind[t] == engine.KindForced && w.old[t] == 0 {
			m.logProbs(w.seq.Tokens, t, w.seq.Temp, w.row)
			w.old[t] = float32(w.row[w.seq.Tokens[t]])
		}
	}
	return w.publish()
}

func (w *writer) publish() *writer {
	w.seq.SetChannel(engine.ChanOld, w.old)
	w.seq.SetChannel(engine.ChanDrawn, w.drawn)
	return w
}

// full ends a sequence that may not grow.
func (w *writer) full(context int) bool {
	n, q := len(w.seq.Tokens), w.p.Params
	switch {
	case q.MaxTokens > 0 && n >= len(w.p.Seq.Tokens)+q.MaxTokens:
		w.seq.Stop = engine.StopLength
	case n >= context:
		w.seq.Stop = engine.StopContext
	}
	return w.seq.Stop != engine.NotStopped
}

// next returns the log-probs of the token after the last.
func (m *table) next(w *writer) []float64 {
	m.logProbs(w.seq.Tokens, len(w.seq.Tokens), w.seq.Temp, w.row)
	return w.row
}

func (w *writer) add(id int32, logProb float64) {
	w.seq.Tokens, w.seq.Kind = append(w.seq.Tokens, id), append(w.seq.Kind, engine.KindSampled)
	drawn := logProb
	if w.p.Params.Greedy {
		drawn = 0
	}
	w.old, w.drawn = append(w.old, float32(logProb)), append(w.drawn, float32(drawn))
	if slices.Contains(w.p.Params.StopIDs, id) {
		w.seq.Stop = engine.StopEOS
	}
	w.publish()
}

// Enumerate calls fn for every sequence that Sample could draw for the prompt, with its probability: expectations are then sums, not
// estimates. Greedy prompts have one. It visits vocab^MaxTokens sequences at most, in ascending order of ids.
func (t *Table) Enumerate(p engine.Prompt, fn func(seq *engine.Sequence, prob float64)) error {
	if err := t.checkPrompt(&p, t.context); err != nil {
		return err
	}
	if p.Params.Greedy || p.Params.MaxTokens == 0 || math.Pow(float64(t.Vocab), float64(p.Params.MaxTokens)) > 1e6 {
		return fmt.Errorf("enumerate: give a prompt that samples at most a million sequences, with max_tokens")
	}
	t.walk(t.begin(&p, 0), 0, fn)
	return nil
}

func (t *Table) walk(w *writer, logProb float64, fn func(*engine.Sequence, float64)) {
	if w.seq.Stop != engine.NotStopped || w.full(t.context) {
		fn(w.seq, math.Exp(logProb))
		return
	}
	row := slices.Clone(t.next(w))
	for id, lp := range row {
		seq := *w.seq
		seq.Tokens, seq.Kind, seq.Chan = slices.Clone(seq.Tokens), slices.Clone(seq.Kind), nil
		branch := &writer{p: w.p, seq: &seq, old: slices.Clone(w.old), drawn: slices.Clone(w.drawn), row: w.row}
		branch.add(int32(id), lp)
		t.walk(branch, logProb+lp, fn)
	}
}
