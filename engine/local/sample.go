package local

import (
	"context"
	"fmt"

	"github.com/hone-lm/hone/engine"
)

// promptState is one prompt of a call.
type promptState struct {
	spec       *engine.Prompt
	index      int       // in the call
	old, drawn []float32 // channels of its tokens: of earlier turns and of forced tokens
	limit      int       // longest sequence, prompt included
	leader     *slot     // one of its samples that runs, from which others take the prompt
}

// known is how many positions of the prompt the cache holds before the first draw: all but the last.
func (p *promptState) known() int { return len(p.spec.Seq.Tokens) - 1 }

// temp is the temperature that the prompt's samples carry.
func (p *promptState) temp() float32 {
	if q := p.spec.Params; !q.Greedy && q.Temperature > 0 {
		return q.Temperature
	}
	return 1
}

// call is one call of Sample.
type call struct {
	ctx     context.Context
	prompts []promptState
	out     [][]*engine.Sequence
	next    struct{ prompt, sample int } // starts next
	left    int                          // samples that have not ended
	err     error
	done    chan struct{} // closed when nothing of the call is in the batch any more
}

// Sample draws every prompt's samples. Calls that run at the same time share one batch; one that is cancelled or fails leaves the others alone.
// Rules run while the model is locked: they must not call the engine.
func (r *runner) Sample(ctx context.Context, prompts []engine.Prompt) ([][]*engine.Sequence, error) {
	if err := r.mu.admit(ctx); err != nil {
		return nil, err
	}
	defer r.mu.leave()
	for i := range prompts {
		if err := r.checkPrompt(&prompts[i]); err != nil {
			return nil, err
		}
	}
	c := r.newCall(ctx, prompts)
	if c.left == 0 {
		return c.out, nil
	}
	if err := r.earlier(c); err != nil {
		return nil, err
	}
	if err := r.batch.run(c); err != nil {
		return nil, err
	}
	return c.out, nil
}

func (r *runner) newCall(ctx context.Context, prompts []engine.Prompt) *call {
	c := &call{ctx: ctx, prompts: make([]promptState, len(prompts)), out: make([][]*engine.Sequence, len(prompts)), done: make(chan struct{})}
	for i := range prompts {
		p := &prompts[i]
		limit := r.opt.Context
		if p.Params.MaxTokens > 0 {
			limit = min(limit, len(p.Seq.Tokens)+p.Params.MaxTokens)
		}
		c.prompts[i] = promptState{spec: p, index: i, limit: limit}
		c.out[i] = make([]*engine.Sequence, p.N)
		c.left += p.N
	}
	return c
}

// earlier takes over the channels of turns sampled before and scores forced tokens that have no log-prob yet. Nobody drew those, so
// their logp_drawn stays 0.
func (r *runner) earlier(c *call) error {
	var forced []*engine.Sequence
	var of []*promptState
	for i := range c.prompts {
		p := &c.prompts[i]
		seq := p.spec.Seq
		n := len(seq.Tokens)
		p.old, p.drawn = make([]float32, n), make([]float32, n)
		copy(p.old, seq.Channel(engine.ChanOld))
		copy(p.drawn, seq.Channel(engine.ChanDrawn))
		for t := 1; t < n; t++ {
			if seq.KindAt(t) == engine.KindForced && p.old[t] == 0 {
				forced, of = append(forced, &engine.Sequence{ID: seq.ID, Tokens: seq.Tokens, Temp: p.temp()}), append(of, p)
				break
			}
		}
	}
	if len(forced) == 0 {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	scores, err := r.score(c.ctx, forced, engine.Want{})
	if err != nil {
		return err
	}
	for i, p := range of {
		for t := range p.old {
			if p.spec.Seq.KindAt(t) == engine.KindForced && p.old[t] == 0 {
				p.old[t] = scores[i].LogProb[t]
			}
		}
	}
	return nil
}

// seek moves next to a sample that can start and reports whether there is one. Prompts that fill the context are done without.
func (c *call) seek() bool {
	for c.next.prompt < len(c.prompts) {
		p := &c.prompts[c.next.prompt]
		switch {
		case c.next.sample == p.spec.N:
			c.next.prompt, c.next.sample = c.next.prompt+1, 0
		case len(p.spec.Seq.Tokens) >= p.limit:
			s := newSlot(c, p, 0)
			s.stop = engine.StopContext
			c.deliver(s)
			c.next.sample++
		default:
			return true
		}
	}
	return false
}

// newSlot makes the slot of the call's next sample, with room for the longest it can become.
func newSlot(c *call, p *promptState, owed int) *slot {
	seq, sample := p.spec.Seq, c.next.sample
	n := len(seq.Tokens)
	out := &engine.Sequence{ID: seq.ID, Tokens: append(make([]int32, 0, p.limit), seq.Tokens...), Kind: make([]engine.Kind, n, p.limit), Temp: p.temp()}
	for t := range n {
		out.Kind[t] = seq.KindAt(t)
	}
	out.Spans = append(out.Spans, seq.Spans...)
	out.ID.Sample = sample
	return &slot{call: c, prompt: p, out: out, sample: sample, old: append(make([]float32, 0, p.limit), p.old...), drawn: append(make([]float32, 0, p.limit), p.drawn...),
		drawer: drawer{key: p.spec.Key.With(uint64(sample))}, pages: make([]int32, 0, pagesOf(p.limit)), owed: owed}
}

// ready reports whether the cache holds the prompt.
func (s *slot) ready() bool { return s.filled >= s.prompt.known() }

// deliver puts a sample that has ended into the call's results.
func (c *call) deliver(s *slot) {
	s.out.Stop = s.stop
	s.out.SetChannel(engine.ChanOld, s.old)
	s.out.SetChannel(engine.ChanDrawn, s.drawn)
	c.out[s.prompt.index][s.sample] = s.out
	c.left--
}

// ended says whether the newest token ends the sequence, and why.
func (r *runner) ended(s *slot) engine.StopReason {
	q := &s.prompt.spec.Params
	id := s.out.Tokens[len(s.out.Tokens)-1]
	for _, stop := range q.StopIDs {
		if id == stop {
			return engine.StopEOS
		}
	}
	if len(q.Stop) > 0 && s.drawer.sawStop(r.tok.Bytes(id), q.Stop) {
		return engine.StopText
	}
	switch {
	case len(s.out.Tokens) < s.prompt.limit:
		return engine.NotStopped
	case s.prompt.limit == r.opt.Context && (q.MaxTokens == 0 || len(s.prompt.spec.Seq.Tokens)+q.MaxTokens > r.opt.Context):
		return engine.StopContext
	}
	return engine.StopLength
}

func (r *runner) checkPrompt(p *engine.Prompt) error {
	if len(p.Seq.Tokens) == 0 {
		return fmt.Errorf("sequence %s is empty: sampling needs at least one token to continue", name(p.Seq))
	}
	if err := r.check(p.Seq); err != nil {
		return err
	}
	for _, c := range []string{engine.ChanOld, engine.ChanDrawn} {
		if x := p.Seq.Channel(c); x != nil && len(x) != len(p.Seq.Tokens) {
			return fmt.Errorf("sequence %s has %d tokens and %d entries in channel %s: extend the channel with the tokens", name(p.Seq), len(p.Seq.Tokens), len(x), c)
		}
	}
	q := p.Params
	if len(q.Stop) > 0 && r.tok == nil {
		return fmt.Errorf("stop strings need a tokenizer, and this model came without one: use stop ids")
	}
	for _, id := range q.StopIDs {
		if id < 0 || int(id) >= r.m.Config.Vocab {
			return fmt.Errorf("sampling: stop id %d, but the vocabulary has %d ids", id, r.m.Config.Vocab)
		}
	}
	if p.N < 0 || q.MaxTokens < 0 || q.TopK < 0 {
		return fmt.Errorf("sampling: n is %d, max_tokens %d, top_k %d: none may be negative", p.N, q.MaxTokens, q.TopK)
	}
	for _, f := range []struct {
		name             string
		value, low, high float32
	}{{"temperature", q.Temperature, MinTemperature, 1e6}, {"top_p", q.TopP, 0, 1}, {"min_p", q.MinP, 0, 1}, {"repetition_penalty", q.RepetitionPenalty, 1e-3, 1e3}} {
		if f.value != 0 && !(f.value >= f.low && f.value <= f.high) {
			return fmt.Errorf("sampling: %s is %g: give %g to %g, or 0 for the default; greedy takes the best token", f.name, f.value, f.low, f.high)
		}
	}
	return nil
}

// MinTemperature is the lowest sampling temperature: below it logits lose their digits, and Greedy says what is meant.
const MinTemperature = 1e-3
