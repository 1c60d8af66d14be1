package local

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/model"
)

// checkIdle wants an engine's sampler to hold nothing: every page free, or idle and found under its key, behind the page before it.
func checkIdle(t testing.TB, r *runner) {
	t.Helper()
	b, s := r.batch, r.batch.pages
	if len(b.active)+len(b.filling)+len(b.calls)+len(b.queue) != 0 || s.owed != 0 || len(s.info) > s.limit || s.kv.Pages != len(s.info) {
		t.Fatalf("after all calls: %d active, %d filling, %d calls, %d owed, %d pages of %d in a cache of %d", len(b.active), len(b.filling), len(b.calls)+len(b.queue), s.owed, len(s.info), s.limit, s.kv.Pages)
	}
	idle, prev := 0, int32(nobody)
	for n := s.idle.first; n != nobody; prev, n = n, s.info[n].next {
		if p := &s.info[n]; p.holders != 0 || !p.remembered || p.prev != prev || s.index[p.key] != n {
			t.Fatalf("idle page %d: %+v", n, p)
		}
		if before := s.info[n].key.before; before != nobody && !s.info[before].remembered {
			t.Fatalf("page %d continues page %d, which is forgotten", n, before)
		}
		idle++
	}
	if idle != s.idle.n || idle != len(s.index) || idle+len(s.free) != len(s.info) || s.idle.last != prev {
		t.Fatalf("%d idle pages (%d counted), %d in the index, %d free, of %d", idle, s.idle.n, len(s.index), len(s.free), len(s.info))
	}
}

// Prompts found in the cache give the bytes of prompts computed: the same ones again, others that share only their beginning, and next turns.
func TestCachedPromptsKeepTheirBytes(t *testing.T) {
	for _, lora := range []bool{false, true} {
		for _, procs := range []int{1, 2} {
			for _, n := range []int{1, 7, 64} {
				if testing.Short() && n == 64 {
					continue
				}
				t.Run(fmt.Sprintf("lora=%v/procs=%d/n=%d", lora, procs, n), func(t *testing.T) {
					defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
					cachedPrompts(t, loud(t, model.Qwen3, lora), n)
				})
			}
		}
	}
}

func cachedPrompts(t *testing.T, m *model.Model, n int) {
	warm := open(t, m, Options{Slots: 9})
	var turns []engine.Prompt
	for i, length := range []int{1, 31, 32, 33, 34, 64, 65, 66, 97, 130} {
		p := ask(prompt(7, length), n, []float32{1, 0.7, 1.3}[i%3], 5+11*(i%4), uint64(i))
		if i%2 == 1 { // leaves the others at a place of its own
			p.Seq.Tokens[length*2/3] ^= 1
		}
		for range 2 {
			got := sample(t, warm, p)
			sameBits(t, fmt.Sprint("prompt of ", length), sample(t, open(t, m, Options{Slots: 9}), p), got)
			next := *got[0][n-1] // its answer, and three tokens of the environment
			next.Tokens = append(slices.Clone(next.Tokens), 3, 4, 5)
			next.Kind, next.Chan = append(slices.Clone(next.Kind), engine.KindObserved, engine.KindObserved, engine.KindObserved), nil
			turns = append(turns, ask(&next, 2, 0.7, 30, uint64(100+i)))
		}
	}
	sameBits(t, "next turns", sample(t, open(t, m, Options{}), turns...), sample(t, warm, turns...))
	checkIdle(t, warm.live)
}

// A group computes its prompt once, later calls find it, and a next turn finds what was sampled: pages are counted, and spoiled ones show.
func TestPagesAreShared(t *testing.T) {
	e := open(t, loud(t, model.Llama, false), Options{})
	s := e.live.batch.pages
	first := sample(t, e, ask(prompt(1, 201), 8, 1, 40, 1)) // 200 positions: 6 full pages, and 8; at the end 240 positions
	if want := 6 + 8*2; len(s.info) != want || len(s.index) != 6+8 {
		t.Errorf("a group of 8 took %d pages, want %d; %d are remembered, want 14", len(s.info), want, len(s.index))
	}
	taken := len(s.info) - len(s.free) - s.idle.n
	again := sample(t, e, ask(prompt(1, 201), 8, 1, 40, 1))
	sameBits(t, "again", first, again)
	if len(s.info) != 6+8*2+8 || taken != 0 { // 8 sampled pages stay idle meanwhile
		t.Errorf("the group again: %d pages, want 30", len(s.info))
	}
	turn := *first[0][3] // 241 tokens, of which 224 lie in full pages
	turn.Chan = nil
	want := sample(t, open(t, e.Model(), Options{}), ask(&turn, 1, 1, 9, 2))
	sameBits(t, "next turn", want, sample(t, e, ask(&turn, 1, 1, 9, 2)))
	at, key := int32(nobody), pageKey{}
	for i := range 7 {
		key.before = at
		copy(key.tokens[:], turn.Tokens[32*i:])
		n, ok := s.index[key]
		if !ok {
			t.Fatalf("page %d of the turn is not remembered", i)
		}
		at = n
	}
	s.kv.CopyPage(int(at), int(key.before)) // the page that holds sampled tokens
	if got := sample(t, e, ask(&turn, 1, 1, 9, 2)); slices.Equal(got[0][0].Channel(engine.ChanOld), want[0][0].Channel(engine.ChanOld)) {
		t.Error("a spoiled page of the earlier sample changes nothing: it was not used")
	}
}

// Every change of weights empties the cache of the model that changed.
func TestChangedWeightsForget(t *testing.T) {
	for _, lora := range []bool{false, true} {
		e := open(t, loud(t, model.Llama, lora), Options{})
		start := saved(t, e)
		f, err := e.Freeze(ctx, "average")
		if err != nil {
			t.Fatal(err)
		}
		p := ask(prompt(1, 100), 3, 1, 20, 1)
		load := func(m *model.Model, b []byte) *Engine {
			fresh := open(t, m, Options{})
			if err := fresh.LoadWeights(ctx, bytes.NewReader(b)); err != nil {
				t.Fatal(err)
			}
			return fresh
		}
		last := sample(t, e, p)
		sample(t, f, p)
		for name, change := range map[string]func() error{
			"Step":        func() error { train(t, e); return nil },
			"LoadWeights": func() error { return e.LoadWeights(ctx, bytes.NewReader(start)) },
			"Load":        func() error { train(t, e); sample(t, e, p); return e.Load(ctx, bytes.NewReader(start)) },
		} {
			train(t, e)
			sample(t, e, p)
			if err := change(); err != nil {
				t.Fatal(err)
			}
			now := sample(t, e, p)
			sameBits(t, name, sample(t, load(loud(t, model.Llama, lora), saved(t, e)), p), now)
			if len(e.order) > 0 && name == "Load" {
				t.Fatal("the state without frozen models brought one")
			}
			last = now
		}
		if f, err = e.Freeze(ctx, "average"); err != nil {
			t.Fatal(err)
		}
		sameBits(t, "frozen", last, sample(t, f, p))
		train(t, e)
		sameBits(t, "frozen after a step", last, sample(t, f, p))
		if err := f.Blend(ctx, 0); err != nil { // it is the trained model now
			t.Fatal(err)
		}
		sameBits(t, "Blend", sample(t, e, p), sample(t, f, p))
	}
}

// A cache that is too small for all gives the same samples later; it never takes more than its pages, and drops what was used least recently.
func TestSmallCache(t *testing.T) {
	m := loud(t, model.Llama, false)
	var prompts []engine.Prompt
	for i := range 24 {
		prompts = append(prompts, ask(prompt(uint64(i%5), 30+i*7), 1+i%4, 1, 5*i, uint64(i))) // the first has no limit
	}
	want := sample(t, open(t, m, Options{}), prompts...)
	for _, tokens := range []int{256, 300, 700} {
		e := open(t, m, Options{CacheTokens: tokens})
		sameBits(t, "together", want, sample(t, e, prompts...))
		checkIdle(t, e.live)
		var wait sync.WaitGroup
		for i := range prompts {
			wait.Go(func() { sameBits(t, "at once", want[i:i+1], sample(t, e, prompts[i])) })
		}
		wait.Wait()
		checkIdle(t, e.live)
		if got := e.live.batch.pages.kv.Bytes(); got > int64(tokens+31)/32*2*2*2*32*12*4 {
			t.Errorf("%d bytes for %d tokens", got, tokens)
		}
	}
	if _, err := New(m, nil, Options{CacheTokens: 255}); err == nil {
		t.Error("a cache smaller than one sequence was accepted")
	}
	planned := func(cacheTokens int) int64 {
		plan, err := open(t, m, Options{CacheTokens: cacheTokens}).Memory(engine.Work{Longest: 32, Rows: 1, Sample: 250})
		if err != nil {
			t.Fatal(err)
		}
		return plan.Cache
	}
	if more := planned(256+320) - planned(256); more != 10*2*2*2*32*12*4 {
		t.Errorf("ten pages more change the plan by %d bytes", more)
	}
}

// A group shares its prompt's pages in the reckoning of memory, too: one that fits only so runs together.
func TestGroupFits(t *testing.T) {
	e := open(t, loud(t, model.Llama, false), Options{CacheTokens: 32 * (8 + 7*2), Context: 250}) // 240 positions: 6 pages of the prompt and 2 more
	p := ask(prompt(1, 201), 9, 1, 40, 1)
	var most atomic.Int64
	p.Rules = []engine.Rule{ruleFunc(func(int) {
		n := int64(len(e.live.batch.active))
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
	})}
	sample(t, e, p)
	if most.Load() != 8 {
		t.Errorf("%d samples ran together, want 8 of 9", most.Load())
	}
}

// Which pages are forgotten is a function of what was asked, in order: the prefix idle for longest goes first, its end before its beginning.
func TestOldestPagesGo(t *testing.T) {
	e := open(t, loud(t, model.Llama, false), Options{CacheTokens: 320}) // ten pages
	s := e.live.batch.pages
	known := func(seed uint64) (n int) {
		key := pageKey{before: nobody}
		for ; n < 8; n++ {
			copy(key.tokens[:], prompt(seed, 256).Tokens[32*n:])
			at, ok := s.index[key]
			if !ok {
				break
			}
			key.before = at
		}
		return n
	}
	for _, step := range []struct {
		seed   uint64
		length int
		want   [3]int // pages known of prompts 1, 2, 3
	}{
		{1, 129, [3]int{4, 0, 0}},
		{2, 129, [3]int{4, 4, 0}}, // nine taken: one for the sample itself is free again
		{1, 65, [3]int{4, 4, 0}},  // the first two pages of 1 are younger now
		{3, 97, [3]int{2, 4, 3}},
		{3, 161, [3]int{2, 2, 5}},
		{2, 97, [3]int{1, 3, 5}}, // the page that was forgotten is computed again into the free one; the sample itself takes one from prompt 1
	} {
		sample(t, e, ask(prompt(step.seed, step.length), 1, 1, 2, 1))
		if got := [3]int{known(1), known(2), known(3)}; got != step.want {
			t.Fatalf("after prompt %d of %d: %v pages known, want %v", step.seed, step.length, got, step.want)
		}
		checkIdle(t, e.live)
	}
}
