package local

import (
	"fmt"
	"sync"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/tensor"
)

// prefillRows is how many prompt tokens one forward pass takes.
const prefillRows = 256

// slot is one sequence being sampled.
type slot struct {
	call       *call
	prompt     *promptState
	sample     int
	out        *engine.Sequence
	old, drawn []float32 // channels of out
	drawer     drawer
	stop       engine.StopReason

	pages      []int32 // positions 32i to 32i+31 of the cache are in pages[i]
	filled     int     // positions whose keys and values are there
	remembered int     // pages at the front that the index knows
	owed       int     // pages that it may still take
}

// batch is the running batch of one model. Calls of Sample put themselves into its queue; whoever holds the turn advances all calls, a token a
// round, until its own has ended, and hands the turn on. Everything but the queue belongs to the holder of the turn and the model's lock.
type batch struct {
	r     *runner
	pages *pages
	turn  chan struct{} // holds one token when nobody advances the batch

	mu    sync.Mutex
	queue []*call // not seen by a round yet

	calls   []*call
	next    int     // the call whose sample starts next
	filling []*slot // their prompts are not in the cache yet
	active  []*slot
	warming bool // nobody waits for a token while the first prompts are computed
	rooms   []*drawRoom
	logits  []float32 // [slot][vocabulary]
	draws   drawJob
}

func newBatch(r *runner) *batch {
	b := &batch{r: r, pages: newPages(&r.m.Config, pagesOf(r.opt.CacheTokens)), turn: make(chan struct{}, 1)}
	b.draws.b = b
	b.turn <- struct{}{}
	return b
}

// run returns when the call's samples are drawn, or when it has failed.
func (b *batch) run(c *call) error {
	b.mu.Lock()
	b.queue = append(b.queue, c)
	b.mu.Unlock()
	for {
		select {
		case <-c.done:
			return c.err
		case <-b.turn:
			b.advance(c)
		}
	}
}

// advance runs rounds until the call has ended.
func (b *batch) advance(c *call) {
	whole := true
	b.r.mu.Lock()
	defer func() {
		if !whole { // a panic is passing: no call must wait for what will not come
			b.abandon()
		}
		b.r.mu.Unlock()
		b.turn <- struct{}{}
	}()
	for {
		select {
		case <-c.done:
			return
		default:
		}
		whole = false
		b.round()
		whole = true
		b.r.mu.Unlock() // let a waiting Score in
		b.r.mu.Lock()
	}
}

// round takes in new calls, drops those that have ended early, starts samples, and computes one piece of prompts and one token of every sample.
func (b *batch) round() {
	b.mu.Lock()
	b.calls, b.queue = append(b.calls, b.queue...), nil
	b.mu.Unlock()
	for _, c := range b.calls {
		if err := c.ctx.Err(); err != nil && c.err == nil {
			c.err = err
		}
	}
	b.sweep()
	b.warming = b.warming || len(b.active) == 0
	b.fill()
	b.prefill()
	b.warming = b.warming && len(b.filling) > 0
	if !b.warming && len(b.active) > 0 {
		b.step()
		b.sweep()
	}
	b.settle()
}

// fill starts samples while there are slots and pages, taking turns between calls.
func (b *batch) fill() {
	for len(b.active)+len(b.filling) < b.r.opt.Slots {
		c := b.waiting()
		if c == nil {
			return
		}
		p := &c.prompts[c.next.prompt]
		need := pagesOf(p.limit - 1) // the last token is not read any more
		if p.leader != nil {
			need -= p.known() / tensor.PageTokens
		}
		if need > b.pages.spare() {
			return // until a sequence ends; nobody overtakes
		}
		b.start(c, p, need)
		b.next++
	}
}

// waiting returns the next call, in turn, with a sample to start.
func (b *batch) waiting() *call {
	for i := range b.calls {
		at := (b.next + i) % len(b.calls)
		if c := b.calls[at]; c.err == nil && c.seek() {
			b.next = at
			return c
		}
	}
	return nil
}

// start gives the call's next sample a slot. The first sample of a prompt computes the prompt; while it runs, others take the prompt from it.
func (b *batch) start(c *call, p *promptState, owed int) {
	s := newSlot(c, p, owed)
	c.next.sample++
	if n := len(b.rooms); n > 0 {
		s.drawer.room, b.rooms = b.rooms[n-1], b.rooms[:n-1]
	} else {
		s.drawer.room = &drawRoom{}
	}
	b.pages.owed += owed
	if p.leader == nil {
		p.leader = s
	}
	b.filling = append(b.filling, s)
}

// prefill computes the keys and values of at most prefillRows prompt tokens, of all tokens but a prompt's last, and moves sequences whose prompts
// are complete to the active ones.
func (b *batch) prefill() {
	in := b.r.input()
	for _, s := range b.filling {
		if s.prompt.leader == s && len(in.Tokens) < prefillRows {
			b.plan(s)
		}
	}
	if len(in.Tokens) > 0 {
		b.r.pack()
		b.r.m.Forward(b.r.prepare(len(in.Tokens)), in)
	}
	keep := b.filling[:0]
	for _, s := range b.filling {
		if l := s.prompt.leader; l != s && l.ready() {
			b.follow(s, l)
		}
		if s.ready() {
			b.active = append(b.active, s)
		} else {
			keep = append(keep, s)
		}
	}
	b.filling = keep
}

// plan adds the next prompt tokens of a sequence to the input. Pages that the input will fill are remembered at once: sequences planned after this
// one find them, for every layer writes the keys and values of all rows before any row reads them.
func (b *batch) plan(s *slot) {
	in, tokens, known := &b.r.in, s.out.Tokens, s.prompt.known()
	for s.filled%tensor.PageTokens == 0 && s.filled+tensor.PageTokens <= known {
		key := s.key()
		n, ok := b.pages.find(&key)
		if !ok {
			break
		}
		s.pages = append(s.pages, n)
		s.owed--
		b.pages.owed--
		s.filled += tensor.PageTokens
		s.remembered++
	}
	to := min(known, s.filled+prefillRows-len(in.Tokens))
	b.reach(s, to)
	for ; s.filled < to; s.filled++ {
		in.Tokens = append(in.Tokens, tokens[s.filled])
		in.Rows = append(in.Rows, tensor.CachedRow{Pages: s.pages, Pos: int32(s.filled)})
	}
	b.remember(s)
}

// reach takes pages for so many positions.
func (b *batch) reach(s *slot, positions int) {
	for len(s.pages)*tensor.PageTokens < positions {
		s.pages = append(s.pages, b.pages.take())
		s.owed--
	}
}

// key names the first page that the index does not know yet.
func (s *slot) key() pageKey {
	k := pageKey{before: nobody}
	if s.remembered > 0 {
		k.before = s.pages[s.remembered-1]
	}
	copy(k.tokens[:], s.out.Tokens[s.remembered*tensor.PageTokens:])
	return k
}

// remember enters the pages that are full into the index.
func (b *batch) remember(s *slot) {
	for (s.remembered+1)*tensor.PageTokens <= s.filled {
		key := s.key()
		s.pages[s.remembered] = b.pages.remember(s.pages[s.remembered], &key)
		s.remembered++
	}
}

// follow gives a sample the prompt of a running one: its full pages, and a copy of the page that the prompt fills in part, in which nothing
// before the prompt's end changes.
func (b *batch) follow(s, leader *slot) {
	known := s.prompt.known()
	s.remembered = known / tensor.PageTokens
	for _, n := range leader.pages[:s.remembered] {
		b.pages.hold(n)
		s.pages = append(s.pages, n)
	}
	b.reach(s, known)
	if known%tensor.PageTokens != 0 {
		b.pages.kv.CopyPage(int(s.pages[s.remembered]), int(leader.pages[s.remembered]))
	}
	s.filled = known
}

// step advances every active sequence by one token.
func (b *batch) step() {
	r, in := b.r, b.r.input()
	for _, s := range b.active {
		b.reach(s, s.filled+1)
		in.Tokens = append(in.Tokens, s.out.Tokens[s.filled])
		in.Rows = append(in.Rows, tensor.CachedRow{Pages: s.pages, Pos: int32(s.filled)})
	}
	n, vocab := len(b.active), r.m.Config.Vocab
	r.pack()
	hidden := r.m.Forward(r.prepare(len(in.Tokens)), in)
	if len(b.logits) < n*vocab {
		b.logits = make([]float32, n*vocab)
	}
	r.head.Logits(b.logits, hidden.Data, n)
	tensor.Parallel(n, &b.draws)
	for _, s := range b.active {
		s.filled++
		if s.drawer.err == nil {
			s.stop = r.ended(s)
		} else if s.call.err == nil {
			s.call.err = s.drawer.err
		}
	}
}

// drawJob draws the next token of every active sequence.
type drawJob struct{ b *batch }

// Part draws for one of them.
func (j *drawJob) Part(i int) {
	s, vocab := j.b.active[i], j.b.r.m.Config.Vocab
	s.drawer.draw(s, j.b.logits[i*vocab:(i+1)*vocab])
}

// sweep takes out the sequences that have ended and those of calls that have.
func (b *batch) sweep() {
	b.active, b.filling = b.without(b.active), b.without(b.filling)
	for _, s := range b.active {
		if s.prompt.leader == nil { // it has ended
			s.prompt.leader = s
		}
	}
}

func (b *batch) without(list []*slot) []*slot {
	keep := list[:0]
	for _, s := range list {
		switch {
		case s.call.err != nil:
			b.release(s)
		case s.stop != engine.NotStopped:
			s.call.deliver(s)
			b.release(s)
		default:
			keep = append(keep, s)
		}
	}
	clear(list[len(keep):])
	return keep
}

// release gives back what a sequence holds. What it sampled stays in the index for prompts that continue it.
func (b *batch) release(s *slot) {
	b.remember(s)
	for i := len(s.pages) - 1; i >= 0; i-- {
		b.pages.letGo(s.pages[i])
	}
	b.pages.owed -= s.owed
	b.rooms = append(b.rooms, s.drawer.room)
	if s.prompt.leader == s {
		s.prompt.leader = nil
	}
}

// settle tells calls that have ended.
func (b *batch) settle() {
	keep := b.calls[:0]
	for _, c := range b.calls {
		if c.err != nil || c.left == 0 {
			close(c.done)
		} else {
			keep = append(keep, c)
		}
	}
	clear(b.calls[len(keep):])
	b.calls = keep
}

// abandon ends all calls after a panic in a round.
func (b *batch) abandon() {
	for _, c := range b.calls {
		if c.err == nil {
			c.err = fmt.Errorf("sampling stopped: another call of the same model panicked")
		}
	}
	b.active, b.filling = nil, nil
	b.pages.forget()
	b.settle()
}
