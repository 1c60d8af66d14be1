package local

import (
	"context"
	"fmt"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/tensor"
)

// prefillRows is how many prompt tokens one forward pass takes.
const prefillRows = 256

// promptState is one prompt of a call: its cached pages are shared by its samples.
type promptState struct {
	spec                  *engine.Prompt
	old, drawn            []float32 // channels of its tokens: of earlier turns and of forced tokens
	limit                 int       // longest sequence, prompt included
	pages                 []int32   // cache of Tokens[:len-1]; the last one may be partly filled
	ready                 bool
	unstarted, unfinished int
}

// slot is one sequence being sampled.
type slot struct {
	prompt *promptState
	out    *engine.Sequence
	sample int
	drawer drawer
	pages  []int32
	shared int // pages at the front that belong to the prompt
	old    []float32
	drawn  []float32
}

// batch is one call of Sample: slots are refilled from the queue as sequences end.
type batch struct {
	r       *runner
	prompts []promptState
	out     [][]*engine.Sequence
	free    []int32
	active  []*slot
	next    [2]int // prompt and sample that starts next
	logits  []float32
}

// Sample draws every prompt's samples. Calls run one after another; within a call sequences share one running batch.
func (r *runner) Sample(ctx context.Context, prompts []engine.Prompt) ([][]*engine.Sequence, error) {
	for i := range prompts {
		if err := r.checkPrompt(&prompts[i]); err != nil {
			return nil, err
		}
	}
	if err := r.mu.enter(); err != nil {
		return nil, err
	}
	defer r.mu.Unlock()
	b := &batch{r: r, prompts: make([]promptState, len(prompts)), out: make([][]*engine.Sequence, len(prompts))}
	longest, total := 0, 0
	for i := range prompts {
		p := &prompts[i]
		limit := r.opt.Context
		if p.Params.MaxTokens > 0 {
			limit = min(limit, len(p.Seq.Tokens)+p.Params.MaxTokens)
		}
		b.prompts[i] = promptState{spec: p, limit: limit, unstarted: p.N, unfinished: p.N}
		b.out[i] = make([]*engine.Sequence, p.N)
		longest, total = max(longest, limit), total+p.N
	}
	if total == 0 {
		return b.out, nil
	}
	if err := b.earlier(ctx); err != nil {
		return nil, err
	}
	b.cache(longest, min(total, r.opt.Slots))
	for b.fill(); len(b.active) > 0; b.fill() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := b.step(); err != nil {
			return nil, err
		}
	}
	return b.out, nil
}

// earlier takes over the channels of turns sampled before and scores forced tokens that have no log-prob yet. Nobody drew those, so
// their logp_drawn stays 0.
func (b *batch) earlier(ctx context.Context) error {
	var forced []*engine.Sequence
	var of []*promptState
	for i := range b.prompts {
		p := &b.prompts[i]
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
	scores, err := b.r.score(ctx, forced, engine.Want{})
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

// temp is the temperature that the prompt's samples carry.
func (p *promptState) temp() float32 {
	if q := p.spec.Params; !q.Greedy && q.Temperature > 0 {
		return q.Temperature
	}
	return 1
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

// cache makes room for so many sequences of the longest kind, and one more for prompts that wait with their pages.
func (b *batch) cache(longest, slots int) {
	each := (longest + tensor.PageTokens - 1) / tensor.PageTokens
	need := (2*slots + 1) * each
	c := &b.r.m.Config
	if b.r.kv == nil || b.r.kv.Pages < need {
		b.r.kv = tensor.NewKV(c.Layers, c.KVHeads, c.HeadDim, need)
	}
	for i := b.r.kv.Pages - 1; i >= 0; i-- {
		b.free = append(b.free, int32(i))
	}
}

func (b *batch) take(n int) []int32 {
	at := len(b.free) - n
	p := append([]int32(nil), b.free[at:]...)
	b.free = b.free[:at]
	return p
}

// fill starts samples in free slots; prompts that come up are prefilled together.
func (b *batch) fill() {
	var fresh []*promptState
	var started []*slot
	for len(b.active)+len(started) < b.r.opt.Slots && b.next[0] < len(b.prompts) {
		p := &b.prompts[b.next[0]]
		if b.next[1] == p.spec.N {
			b.next = [2]int{b.next[0] + 1, 0}
			continue
		}
		if len(p.spec.Seq.Tokens) >= p.limit { // the prompt fills the context
			b.out[b.next[0]][b.next[1]] = finished(newSlot(p, b.next[1]), engine.StopContext)
			p.unstarted, p.unfinished = p.unstarted-1, p.unfinished-1
			b.next[1]++
			continue
		}
		if p.pages == nil {
			p.pages = b.take((len(p.spec.Seq.Tokens) - 1 + tensor.PageTokens - 1) / tensor.PageTokens)
			fresh = append(fresh, p)
		}
		s := newSlot(p, b.next[1])
		s.drawer.index = b.next[0]
		started = append(started, s)
		b.next[1]++
	}
	b.prefill(fresh)
	for _, s := range started {
		b.start(s)
	}
}

func newSlot(p *promptState, sample int) *slot {
	seq := p.spec.Seq
	n := len(seq.Tokens)
	out := &engine.Sequence{ID: seq.ID, Tokens: append(make([]int32, 0, p.limit), seq.Tokens...), Kind: make([]engine.Kind, n, p.limit), Temp: p.temp()}
	for t := range n {
		out.Kind[t] = seq.KindAt(t)
	}
	out.Spans = append(out.Spans, seq.Spans...)
	out.ID.Sample = sample
	return &slot{prompt: p, out: out, sample: sample, old: append(make([]float32, 0, p.limit), p.old...), drawn: append(make([]float32, 0, p.limit), p.drawn...),
		drawer: drawer{key: p.spec.Key.With(uint64(sample))}}
}

// prefill computes the keys and values of all prompt tokens but the last, several prompts in one pass.
func (b *batch) prefill(prompts []*promptState) {
	in := &b.r.in
	in.Tokens, in.Rows, in.Pos, in.Docs, in.KV = in.Tokens[:0], in.Rows[:0], nil, nil, b.r.kv
	flush := func() {
		if len(in.Tokens) > 0 {
			b.r.m.Forward(b.r.prepare(), in)
			in.Tokens, in.Rows = in.Tokens[:0], in.Rows[:0]
		}
	}
	for _, p := range prompts {
		for t, id := range p.spec.Seq.Tokens[:len(p.spec.Seq.Tokens)-1] {
			in.Tokens = append(in.Tokens, id)
			in.Rows = append(in.Rows, tensor.CachedRow{Pages: p.pages, Pos: int32(t)})
			if len(in.Tokens) == prefillRows {
				flush()
			}
		}
		p.ready = true
	}
	flush()
}

// start gives a sample its pages: the prompt's full ones shared, the partly filled one copied.
func (b *batch) start(s *slot) {
	p := s.prompt
	known := len(p.spec.Seq.Tokens) - 1
	s.shared = known / tensor.PageTokens
	total := (p.limit + tensor.PageTokens - 1) / tensor.PageTokens
	own := b.take(total - s.shared)
	s.pages = append(append(make([]int32, 0, total), p.pages[:s.shared]...), own...)
	if known%tensor.PageTokens != 0 {
		b.r.kv.CopyPage(int(own[0]), int(p.pages[s.shared]))
	}
	p.unstarted--
	b.active = append(b.active, s)
}

// step advances every active sequence by one token.
func (b *batch) step() error {
	r, in := b.r, &b.r.in
	in.Tokens, in.Rows, in.Pos, in.Docs, in.KV = in.Tokens[:0], in.Rows[:0], nil, nil, r.kv
	for _, s := range b.active {
		last := len(s.out.Tokens) - 1
		in.Tokens = append(in.Tokens, s.out.Tokens[last])
		in.Rows = append(in.Rows, tensor.CachedRow{Pages: s.pages, Pos: int32(last)})
	}
	n, vocab := len(b.active), r.m.Config.Vocab
	hidden := r.m.Forward(r.prepare(), in)
	if len(b.logits) < n*vocab {
		b.logits = make([]float32, n*vocab)
	}
	r.head.Logits(b.logits, hidden.Data, n)
	tensor.Parallel(n, &drawJob{b: b, vocab: vocab})
	keep := b.active[:0]
	for _, s := range b.active {
		if s.drawer.err != nil {
			return s.drawer.err
		}
		if stop := b.ended(s); stop != engine.NotStopped {
			b.out[s.drawer.index][s.sample] = finished(s, stop)
			b.release(s)
			continue
		}
		keep = append(keep, s)
	}
	b.active = keep
	return nil
}

type drawJob struct {
	b     *batch
	vocab int
}

// Part draws the next token of one sequence.
func (j *drawJob) Part(i int) {
	s := j.b.active[i]
	s.drawer.draw(s, j.b.logits[i*j.vocab:(i+1)*j.vocab])
}

func (b *batch) ended(s *slot) engine.StopReason {
	q := &s.prompt.spec.Params
	id := s.out.Tokens[len(s.out.Tokens)-1]
	for _, stop := range q.StopIDs {
		if id == stop {
			return engine.StopEOS
		}
	}
	if len(q.Stop) > 0 && s.drawer.sawStop(b.r.tok.Bytes(id), q.Stop) {
		return engine.StopText
	}
	switch {
	case len(s.out.Tokens) < s.prompt.limit:
		return engine.NotStopped
	case s.prompt.limit == b.r.opt.Context && (q.MaxTokens == 0 || len(s.prompt.spec.Seq.Tokens)+q.MaxTokens > b.r.opt.Context):
		return engine.StopContext
	}
	return engine.StopLength
}

func finished(s *slot, stop engine.StopReason) *engine.Sequence {
	s.out.Stop = stop
	s.out.SetChannel(engine.ChanOld, s.old)
	s.out.SetChannel(engine.ChanDrawn, s.drawn)
	return s.out
}

// release gives pages back: the sample's own at once, the prompt's when its last sample has ended.
func (b *batch) release(s *slot) {
	b.free = append(b.free, s.pages[s.shared:]...)
	p := s.prompt
	if p.unfinished--; p.unfinished == 0 {
		b.free = append(b.free, p.pages...)
		p.pages = nil
	}
}
