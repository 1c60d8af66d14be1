package local

import (
	"fmt"
	"runtime"
	"slices"
	"testing"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/internal/rng"
	"github.com/hone-lm/hone/model"
	"github.com/hone-lm/hone/objective"
)

// commonPrompts gives sequences of a batch prompts that others have, too: of 11 and 33 tokens, each sequence ending in tokens of its own.
func commonPrompts(streams []engine.Stream) []engine.Stream {
	done := map[*engine.Sequence]bool{}
	for _, st := range streams {
		for _, r := range st.Rows {
			s := r.Seq
			if done[s] {
				continue
			}
			done[s] = true
			n := 11
			if len(s.Tokens) > 45 {
				n = 33
			}
			copy(s.Tokens[:n], prompt(uint64(500+n), n).Tokens)
			s.Kind = make([]engine.Kind, len(s.Tokens))
			for t := n; t < len(s.Tokens); t++ {
				s.Kind[t] = engine.KindSampled
			}
		}
	}
	return streams
}

// promptedSequences are groups of four with prompts of 1 to 100 tokens, and a few that share nothing, or all but one token, or everything.
func promptedSequences() []*engine.Sequence {
	var seqs []*engine.Sequence
	for i := range 24 {
		n := []int{1, 31, 32, 33, 64, 100}[i/4]
		s := prompt(uint64(i), max([]int{40, 120, 33, 34, 70, 200}[i%6], n+1)+i)
		s.Kind = make([]engine.Kind, len(s.Tokens))
		for k := n; k < len(s.Kind); k++ {
			s.Kind[k] = engine.KindSampled
		}
		copy(s.Tokens, prompt(uint64(900+n), n).Tokens)
		if i == 13 {
			s.Tokens[n-1] ^= 1 // all but the last of its prompt's tokens are those of the others
		}
		if i%5 == 0 {
			s.Temp = 0.7
		}
		seqs = append(seqs, s)
	}
	return append(seqs, prompt(1, 1), &engine.Sequence{Tokens: []int32{3}}, seqs[4], &engine.Sequence{Tokens: slices.Clone(seqs[4].Tokens)})
}

// withTeacher opens an engine with a frozen copy that has moved away.
func withTeacher(t testing.TB, m *model.Model, o Options) (*Engine, engine.Frozen) {
	t.Helper()
	e := open(t, m, o)
	f, err := e.Freeze(ctx, "teacher")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range f.(*Frozen).m.Params() {
		p.Data[0] += 0.3
	}
	return e, f
}

// Shared prompts leave everything that Score gives as it is, to the bit.
func TestSharedPromptsKeepScores(t *testing.T) {
	for _, family := range []model.Family{model.Llama, model.Qwen3, model.GPT2} {
		if testing.Short() && family != model.Qwen3 {
			continue
		}
		m := withCritic(t, family, family != model.Qwen3)
		seqs := promptedSequences()
		for _, micro := range []int{1, 300, 4096} {
			var want string
			for _, share := range []bool{false, true} {
				for _, procs := range []int{1, 2} {
					old := runtime.GOMAXPROCS(procs)
					e, f := withTeacher(t, m, Options{MicroTokens: micro, SharePrompts: share})
					scores, err := e.Score(ctx, seqs, engine.Want{Entropy: true, TopK: 3, Value: true, Hidden: true, Term: objective.KLTerm{Frozen: f}})
					runtime.GOMAXPROCS(old)
					if err != nil {
						t.Fatal(err)
					}
					got := ""
					for _, s := range scores {
						got += fmt.Sprintln(*s)
					}
					if want == "" {
						want = got
					}
					if got != want {
						t.Errorf("%s, micro-batches of %d, share %v, %d processors: other scores", family, micro, share, procs)
					}
					saved, expect := e.live.lay.tokens-len(e.live.in.Tokens), 0
					if share {
						expect = 3*(1+31+32+64+100) + 2*33 + 31
					}
					if micro == 4096 && saved != expect {
						t.Errorf("share %v: %d rows saved, want %d", share, saved, expect)
					}
				}
			}
		}
	}
}

// Shared prompts leave log-probs as they are, losses and gradients but for rounding, whatever the objectives, micro-batches and processors.
func TestSharedPromptsGradient(t *testing.T) {
	for _, family := range []model.Family{model.Qwen3, model.GPT2} {
		m := withCritic(t, family, true)
		run := func(o Options, procs int) ([]string, []float32, float64) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			e, f := withTeacher(t, m, o)
			seen := probe{map[*engine.Sequence][]float32{}}
			term := objective.KLTerm{Frozen: f}
			streams := commonPrompts(mixed())
			rows := streams[1].Rows
			streams = append(streams, engine.Stream{Name: "kl", Obj: objective.TermLoss{Term: term}, Coef: 0.1, Rows: rows},
				engine.Stream{Name: "value", Obj: newValueLoss(), Coef: 0.2, Rows: rows},
				engine.Stream{Name: "square", Obj: square{term: term}, Coef: 0.1, Rows: rows},
				engine.Stream{Name: "probe", Obj: seen, Rows: slices.Concat(streams[0].Rows, rows)})
			g, loss := gradientOf(t, e, normalised(t, streams...))
			var logProbs []string
			for s, lp := range seen.seen {
				logProbs = append(logProbs, fmt.Sprint(s.ID, lp))
			}
			slices.Sort(logProbs)
			return logProbs, flat(g), loss
		}
		seen, want, loss := run(Options{}, 1)
		var one []float32
		for name, o := range map[string]Options{"all": {}, "pieces": {MicroTokens: 150}, "alone": {MicroTokens: 1}, "recomputed": {MicroTokens: 150, Recompute: true}} {
			o.SharePrompts = true
			for _, procs := range []int{1, 2} {
				s, got, l := run(o, procs)
				if !slices.Equal(s, seen) {
					t.Errorf("%s, %s: log-probs change", family, name)
				}
				if d := distance(want, got); d > 3e-6 || l-loss > 1e-9 || loss-l > 1e-9 {
					t.Errorf("%s, %s: the gradient changes by %g, the loss by %g", family, name, d, l-loss)
				}
				if procs == 2 && distance(one, got) != 0 {
					t.Errorf("%s, %s: the gradient depends on processors", family, name)
				}
				one = got
			}
		}
	}
}

// With shared prompts exp(logp - logp_old) of a sampled group is exactly 1, too.
func TestRatioIsOneWithSharedPrompts(t *testing.T) {
	for _, n := range []int{2, 33, 100, 200} {
		e := open(t, loud(t, model.Qwen3, true), Options{SharePrompts: true, MicroTokens: 700})
		groups := sample(t, e, ask(prompt(1, n), 8, 0.7, 50, 1), ask(prompt(2, n), 8, 1, 50, 2))
		p := probe{map[*engine.Sequence][]float32{}}
		var rows []engine.Row
		for _, s := range slices.Concat(groups[0], groups[1]) {
			rows = append(rows, sampledRow(s))
		}
		stats, err := e.Backward(ctx, normalised(t, engine.Stream{Name: "probe", Obj: p, Rows: rows}))
		if err != nil {
			t.Fatal(err)
		}
		tokens := 0
		for _, r := range rows {
			tokens += len(r.Seq.Tokens)
			for i, on := range r.Mask {
				if on && p.seen[r.Seq][i] != r.Seq.Channel(engine.ChanOld)[i] {
					t.Fatalf("prompt of %d: token %d: trained %v, sampled %v", n, i, p.seen[r.Seq][i], r.Seq.Channel(engine.ChanOld)[i])
				}
			}
		}
		if stats.Tokens > tokens-10*n {
			t.Errorf("prompt of %d: %d of %d tokens forwarded", n, stats.Tokens, tokens)
		}
	}
}

// Every sequence is in one micro-batch, units stay whole, prompts count once, and those of one prompt are neighbours.
func TestPackSharesPrompts(t *testing.T) {
	for round := range 200 {
		key := rng.New(uint64(round), "pack")
		var seqs []*engine.Sequence
		for i := range 1 + key.Intn(0, 30) {
			s := prompt(uint64(1000+round*50+i), 5+key.Intn(uint64(10+i), 60))
			if g := key.Intn(uint64(100+i), 4); g > 0 {
				n := min(len(s.Tokens)-1, 7*g)
				copy(s.Tokens[:n], prompt(uint64(g), n).Tokens)
				s.Kind = make([]engine.Kind, len(s.Tokens))
				for t := n; t < len(s.Kind); t++ {
					s.Kind[t] = engine.KindDemo
				}
			}
			if i%3 > 0 {
				s.Unit = int64(1 + key.Intn(uint64(200+i), 6))
			}
			seqs = append(seqs, s)
		}
		count, unit := make([]int, len(seqs)), map[int64]int{}
		budget := 40 + 10*(round%30)
		for number, micro := range pack(seqs, Options{MicroTokens: budget, SharePrompts: true}) {
			for _, i := range micro {
				count[i]++
				if u := seqs[i].Unit; u != 0 && unit[u] != 0 && unit[u] != number+1 {
					t.Fatalf("round %d: unit %d is in two micro-batches", round, u)
				}
				unit[seqs[i].Unit] = number + 1
			}
			checkMicro(t, seqs, micro, budget)
		}
		for i, n := range count {
			if n != 1 {
				t.Fatalf("round %d: sequence %d runs %d times", round, i, n)
			}
		}
	}
}

// checkMicro wants a micro-batch of several units to keep the budget, its prompts to be neighbours, and every token to be where the layout says.
func checkMicro(t *testing.T, seqs []*engine.Sequence, micro []int, budget int) {
	t.Helper()
	var y layout
	var in model.Input
	y.fill(&in, seqs, micro, true)
	blocks, groups := map[int64]bool{}, map[string]bool{}
	last := ""
	for k, i := range micro {
		u := seqs[i].Unit
		if u == 0 {
			u = int64(-1 - i)
		}
		blocks[u] = true
		now := fmt.Sprint(promptOf(seqs[i]))
		if now != last && groups[now] {
			t.Fatal("sequences of one prompt are apart")
		}
		groups[now], last = true, now
		for at, id := range seqs[i].Tokens {
			if in.Tokens[y.seqs[k].row(at)] != id {
				t.Fatalf("sequence %d token %d lies elsewhere", i, at)
			}
		}
	}
	if len(in.Tokens) > budget && len(blocks) > 1 {
		t.Fatalf("%d rows where %d are allowed", len(in.Tokens), budget)
	}
}

// An update on 4 prompts of 250 tokens with 8 answers of 50 tokens each, with every answer bringing its prompt and with prompts computed once.
func BenchmarkSharedPrompts(b *testing.B) {
	cfg := model.Config{Family: model.Llama, Vocab: 512, Hidden: 256, Inner: 768, Layers: 6, Heads: 8, MaxPos: 512, NormEps: 1e-5, RopeTheta: 10000, Tied: true}
	for _, share := range []bool{false, true} {
		b.Run(fmt.Sprintf("share=%v", share), func(b *testing.B) {
			m, err := model.New(cfg, 1)
			if err != nil {
				b.Fatal(err)
			}
			e, err := New(m, nil, Options{SharePrompts: share})
			if err != nil {
				b.Fatal(err)
			}
			stream := engine.Stream{Name: "rl", Obj: objective.CrossEntropy{}, Coef: 1, Norm: engine.TokenMean}
			for i := range 32 {
				s := &engine.Sequence{Tokens: make([]int32, 300), Kind: make([]engine.Kind, 300)}
				mask := make([]bool, 300)
				for t := range s.Tokens {
					key := rng.New(1, "prompt", uint64(i/8))
					if t >= 250 {
						key, s.Kind[t], mask[t] = rng.New(1, "answer", uint64(i)), engine.KindSampled, true
					}
					s.Tokens[t] = int32(key.Intn(uint64(t), cfg.Vocab))
				}
				stream.Rows = append(stream.Rows, engine.Row{Seq: s, Mask: mask})
			}
			batch, err := engine.Normalise([]engine.Stream{stream})
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if _, err := e.Backward(ctx, batch); err != nil {
					b.Fatal(err)
				}
				if _, err := e.Step(ctx, engine.Optim{LR: 1e-4, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
