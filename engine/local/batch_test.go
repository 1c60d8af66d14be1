package local

import (
	"context"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/model"
	"github.com/hone-lm/hone/objective"
	"github.com/hone-lm/hone/tensor"
)

// square needs the whole step at once and reads every column: loss = (sum w (lp + 0.3 H + 0.2 V + 0.1 term))^2 / 2.
type square struct {
	term  engine.RowTerm
	calls *int
	saw   func(views []engine.View)
}

func (square) Name() string         { return "square" }
func (square) Scope() engine.Scope  { return engine.ScopeBatch }
func (s square) Needs() engine.Want { return engine.Want{Entropy: true, Value: true, Term: s.term} }
func (s square) Eval(views []engine.View, _ *engine.Tally) float64 {
	if s.calls != nil {
		*s.calls++
	}
	if s.saw != nil {
		s.saw(views)
	}
	sum := 0.0
	for pass := range 2 {
		for _, v := range views {
			for t := v.From; t < v.To; t++ {
				w := v.Row.WeightAt(t) * v.Row.Scale
				if pass == 0 {
					sum += w * (float64(v.LogProb[t]) + 0.3*float64(v.Entropy[t]) + 0.2*float64(v.Value[t]) + 0.1*float64(v.Term[t]))
					continue
				}
				v.DLogProb[t] += sum * w
				v.DEntropy[t] += 0.3 * sum * w
				v.DValue[t] += 0.2 * sum * w
				v.DTerm[t] += 0.1 * sum * w
			}
		}
	}
	return sum * sum / 2
}

// asBatch sees another objective's rows all at once.
type asBatch struct{ engine.Objective }

func (asBatch) Scope() engine.Scope { return engine.ScopeBatch }

// Derivatives by every column that come from the whole step are those of differences through the whole engine.
func TestBatchGradient(t *testing.T) {
	for _, family := range []model.Family{model.Llama, model.GPT2} {
		if testing.Short() && family == model.GPT2 {
			continue
		}
		e := open(t, withCritic(t, family, false), Options{MicroTokens: 25})
		teacher, err := e.Freeze(ctx, "teacher")
		if err != nil {
			t.Fatal(err)
		}
		louder(e, 1.3)
		calls := 0
		b := normalised(t,
			engine.Stream{Name: "step", Obj: square{term: objective.KLTerm{Frozen: teacher}, calls: &calls}, Rows: returnRows(4)},
			engine.Stream{Name: "sft", Obj: objective.CrossEntropy{}, Coef: 0.1, Rows: returnRows(2)})
		if n := differences(t, e, b); n < 15 {
			t.Errorf("%s: only %d tensors measured", family, n)
		}
		if calls == 0 {
			t.Errorf("%s: the objective was never called", family)
		}
	}
}

// louder moves the trained weights away from their copies.
func louder(e *Engine, factor float32) {
	for _, p := range e.live.m.Params() {
		if p.Decay {
			for i := range p.Data {
				p.Data[i] *= factor
			}
		}
	}
}

// An objective that adds over rows has the gradient, to the bit, that it has at its own scope; it is called once, with all rows in their
// order, whatever other streams name first; and sees the bytes that Score gives.
func TestBatchScope(t *testing.T) {
	for _, micro := range []int{20, 60, 1 << 20} {
		e := open(t, loud(t, model.Qwen3, true), Options{MicroTokens: micro})
		rows := returnRows(6)
		want, loss := gradientOf(t, e, normalised(t, engine.Stream{Name: "sft", Obj: objective.CrossEntropy{}, Rows: rows}))
		got, same := gradientOf(t, e, normalised(t, engine.Stream{Name: "sft", Obj: asBatch{objective.CrossEntropy{}}, Rows: rows}))
		if d := distance(flat(want), flat(got)); d != 0 || math.Abs(loss-same) > 1e-12 {
			t.Errorf("micro-batches of %d: batch scope changes the gradient by %g, the loss from %g to %g", micro, d, loss, same)
		}
		calls := 0
		var seqs []*engine.Sequence
		for _, r := range rows {
			seqs = append(seqs, r.Seq)
		}
		scores, err := e.Score(ctx, seqs, engine.Want{Entropy: true, Term: objective.CollisionTerm{}})
		if err != nil {
			t.Fatal(err)
		}
		see := func(views []engine.View) {
			if len(views) != len(rows) {
				t.Fatalf("%d views of %d rows", len(views), len(rows))
			}
			for i, v := range views {
				if v.Row.Seq != rows[i].Seq || v.From != 0 || v.To != len(v.Row.Seq.Tokens) {
					t.Fatalf("view %d is of another row", i)
				}
				for k := 1; k < v.To; k++ {
					if s := scores[i]; v.LogProb[k] != s.LogProb[k] || v.Entropy[k] != s.Entropy[k] || v.Term[k] != s.Term[k] || s.Term[k] == 0 {
						t.Fatalf("row %d token %d: %v, %v and %v, Score says %v, %v and %v", i, k, v.LogProb[k], v.Entropy[k], v.Term[k], s.LogProb[k], s.Entropy[k], s.Term[k])
					}
				}
			}
		}
		stats, err := e.Backward(ctx, normalised(t,
			engine.Stream{Name: "other", Obj: objective.CrossEntropy{}, Rows: []engine.Row{rows[4], fullRow(prompt(5, 30)), rows[0]}},
			engine.Stream{Name: "step", Obj: square{term: objective.CollisionTerm{}, calls: &calls, saw: see}, Rows: rows}))
		if err != nil {
			t.Fatal(err)
		}
		tokens := 30
		for _, s := range seqs {
			tokens += 2 * len(s.Tokens)
		}
		if calls != 1 || stats.Sequences != 7 || stats.Tokens != tokens {
			t.Errorf("%d calls, %d sequences, %d tokens forwarded, want %d", calls, stats.Sequences, stats.Tokens, tokens)
		}
		e.clear()
	}
}

// rich is a step with everything at once: all objectives, values, terms with two teachers, and two objectives of batch scope.
func rich(t testing.TB, e *Engine) []engine.Stream {
	t.Helper()
	one, ok := e.Kept("one")
	two, ok2 := e.Kept("two")
	if !ok || !ok2 {
		t.Fatal("no teachers")
	}
	streams := mixed()
	rl := streams[1].Rows
	for i := range rl {
		ret := rl[i].Seq.SetChannel(engine.ChanReturn, nil)
		for k := range ret {
			ret[k] = float32(k%5) - 2
		}
	}
	return append(streams,
		engine.Stream{Name: "step", Obj: square{term: objective.KLTerm{Frozen: one}}, Coef: 0.2, Rows: append(rl[:2:2], streams[0].Rows...)},
		engine.Stream{Name: "value", Obj: valueLoss{}, Coef: 0.3, Rows: rl},
		engine.Stream{Name: "reverse", Obj: objective.TermLoss{Term: objective.KLTerm{Frozen: one}}, Coef: 0.2, Rows: rl[1:]},
		engine.Stream{Name: "forward", Obj: objective.TermLoss{Term: objective.KLTerm{Frozen: two, Forward: true, Temp: 1.5}}, Coef: -0.1, Rows: rl},
		engine.Stream{Name: "whole", Obj: asBatch{objective.TermLoss{Term: objective.KLTerm{Frozen: one, Forward: true}}}, Coef: 0.1, Rows: rl[:3]},
	)
}

// The gradient of everything at once depends on micro-batches and recomputation by rounding only, on processors not at all, and Backward
// on each stream alone gives the same sum.
func TestRichGradient(t *testing.T) {
	for _, family := range []model.Family{model.Llama, model.GPT2} {
		if testing.Short() && family == model.GPT2 {
			continue
		}
		run := func(o Options, procs int, apart bool) ([]float32, float64) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			e := open(t, withCritic(t, family, true), o)
			for _, name := range []string{"one", "two"} {
				louder(e, 1.1)
				if _, err := e.Freeze(ctx, name); err != nil {
					t.Fatal(err)
				}
			}
			louder(e, 0.9)
			b := normalised(t, rich(t, e)...)
			if !apart {
				g, loss := gradientOf(t, e, b)
				return flat(g), loss
			}
			var sum []float32
			total := 0.0
			for _, s := range b.Streams {
				g, loss := gradientOf(t, e, &engine.Batch{Streams: []engine.Stream{s}})
				total += loss
				if sum == nil {
					sum = make([]float32, len(flat(g)))
				}
				for i, x := range flat(g) {
					sum[i] += x
				}
			}
			return sum, total
		}
		one, loss := run(Options{MicroTokens: 130}, 1, false)
		before := tensor.ParallelSections()
		two, twice := run(Options{MicroTokens: 130}, 2, false)
		if d := distance(one, two); d != 0 || loss != twice || tensor.ParallelSections() == before {
			t.Errorf("%s: two processors change the gradient by %g, the loss by %g", family, d, loss-twice)
		}
		if restore, ok := tensor.ForceKernelLevel("avx2"); ok {
			other, l := run(Options{MicroTokens: 130}, 2, false)
			restore()
			if d := distance(one, other); d != 0 || l != loss {
				t.Errorf("%s: AVX2 changes the gradient by %g, the loss by %g", family, d, l-loss)
			}
		}
		for name, g := range map[string]func() ([]float32, float64){
			"all in one":             func() ([]float32, float64) { return run(Options{}, 2, false) },
			"one sequence at a time": func() ([]float32, float64) { return run(Options{MicroTokens: 1}, 2, false) },
			"recomputation":          func() ([]float32, float64) { return run(Options{MicroTokens: 130, Recompute: true}, 1, false) },
			"one call a stream":      func() ([]float32, float64) { return run(Options{MicroTokens: 130}, 2, true) },
		} {
			got, l := g()
			if d := distance(one, got); d > 5e-6 || math.Abs(l-loss) > 1e-8 {
				t.Errorf("%s, %s: the gradient changes by %g, the loss by %g", family, name, d, l-loss)
			}
		}
	}
}

// On policy the ratio stays exactly 1 in batch scope, with a value head and with terms beside it.
func TestBatchRatioIsOne(t *testing.T) {
	e := open(t, withCritic(t, model.Llama, true), Options{Slots: 5, MicroTokens: 200})
	drawn, err := e.Sample(ctx, []engine.Prompt{{Seq: prompt(1, 37), N: 9, Params: engine.Params{Temperature: 1.3, MaxTokens: 40}, Key: engine.NewKey(1, "a")}})
	if err != nil {
		t.Fatal(err)
	}
	var rows []engine.Row
	for _, s := range drawn[0] {
		rows = append(rows, sampledRow(s))
	}
	tokens := 0
	see := func(views []engine.View) {
		for _, v := range views {
			for k, m := range v.Row.Mask {
				if m {
					tokens++
					if v.LogProb[k] != v.Row.Seq.Channel(engine.ChanOld)[k] {
						t.Fatalf("token %d: trained %v, sampled %v", k, v.LogProb[k], v.Row.Seq.Channel(engine.ChanOld)[k])
					}
				}
			}
		}
	}
	p := probe{map[*engine.Sequence][]float32{}}
	gradientOf(t, e, normalised(t, engine.Stream{Name: "step", Obj: square{term: objective.EntropyTerm{}, saw: see}, Rows: rows}, engine.Stream{Name: "probe", Obj: p, Rows: rows[2:]}))
	if tokens < 100 || p.seen[rows[3].Seq][50] != rows[3].Seq.Channel(engine.ChanOld)[50] {
		t.Errorf("%d sampled tokens", tokens)
	}
}

// mover changes the weights between the two passes of a batch objective.
type mover struct {
	asBatch
	weight *float32
}

func (m mover) Eval(views []engine.View, tally *engine.Tally) float64 {
	*m.weight += 0.01
	return m.asBatch.Eval(views, tally)
}

// What goes wrong in or between the passes is an error that leaves no gradient.
func TestBatchErrors(t *testing.T) {
	e := open(t, loud(t, model.Llama, false), Options{MicroTokens: 30})
	rows := returnRows(4)
	_, err := e.Backward(ctx, normalised(t, engine.Stream{Name: "step", Obj: mover{asBatch{objective.CrossEntropy{}}, &e.Model().Weights()[0].Data[100]}, Rows: rows}))
	if err == nil || !strings.Contains(err.Error(), "first pass") || gradientNorm(e.Model()) != 0 {
		t.Errorf("weights that moved between the passes: %v, gradient of norm %g", err, gradientNorm(e.Model()))
	}
	rows[2].Seq.Channel(engine.ChanReturn)[3] = float32(math.NaN())
	_, err = e.Backward(ctx, normalised(t, engine.Stream{Name: "step", Obj: asBatch{valueLoss{}}, Rows: rows}))
	if err == nil || !strings.Contains(err.Error(), "loss is NaN") || gradientNorm(e.Model()) != 0 {
		t.Errorf("a loss that is not a number: %v", err)
	}
	stopped, cancel := context.WithCancel(ctx)
	b := normalised(t, engine.Stream{Name: "step", Obj: square{term: objective.EntropyTerm{}, saw: func([]engine.View) { cancel() }}, Rows: rows})
	if _, err := e.Backward(stopped, b); err == nil || gradientNorm(e.Model()) != 0 {
		t.Errorf("a cancelled context: %v", err)
	}
}

// A warm Backward allocates for its sequences, streams and micro-batches, but not for tokens.
func TestBackwardAllocations(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	e := open(t, withCritic(t, model.Llama, true), Options{})
	f, err := e.Freeze(ctx, "teacher")
	if err != nil {
		t.Fatal(err)
	}
	allocations := func(tokens int) float64 {
		var rows []engine.Row
		for i := range 4 {
			s := prompt(uint64(i), tokens)
			s.SetChannel(engine.ChanReturn, nil)
			rows = append(rows, fullRow(s))
		}
		b := normalised(t,
			engine.Stream{Name: "sft", Obj: objective.CrossEntropy{}, Rows: rows},
			engine.Stream{Name: "value", Obj: valueLoss{}, Rows: rows},
			engine.Stream{Name: "kl", Obj: objective.TermLoss{Term: objective.KLTerm{Frozen: f}}, Rows: rows},
			engine.Stream{Name: "step", Obj: square{term: objective.CollisionTerm{}}, Rows: rows},
			engine.Stream{Name: "apart", Obj: objective.EntropyBonus{}, Rows: rows, Into: "apart"})
		run := func() {
			if _, err := e.Backward(ctx, b); err != nil {
				t.Fatal(err)
			}
		}
		run()
		return testing.AllocsPerRun(5, run)
	}
	long := allocations(120)
	if short := allocations(20); long > short {
		t.Errorf("%g allocations for 480 tokens, %g for 80", long, short)
	} else {
		t.Logf("%g allocations", long)
	}
}
