package local

import (
	"runtime"
	"slices"
	"testing"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/internal/rng"
	"github.com/hone-lm/hone/model"
	"github.com/hone-lm/hone/objective"
	"github.com/hone-lm/hone/tensor"
)

// mixed is a step with a stream of every objective that the engine offers over shared sequences: sampled ones at temperature 1.3, demonstrations, pairs.
func mixed() []engine.Stream {
	var rl, sft, pairs []engine.Row
	for i := range 10 {
		s := prompt(uint64(i+30), 15+8*i)
		r := fullRow(s)
		label := s.SetChannel(objective.ChanLabel, nil)
		for t := range label {
			label[t] = float32(i % 2)
		}
		for c, name := range []string{engine.ChanOld, engine.ChanRef, engine.ChanAdvantage, engine.ChanReturn, engine.ChanValueOld} {
			x := s.SetChannel(name, nil)
			for t := range x {
				x[t] = float32(rng.New(uint64(i), "channel", uint64(c)).Normal(uint64(t)))
				if name != engine.ChanAdvantage {
					x[t] -= 4
				}
			}
		}
		switch {
		case i < 4:
			s.Temp = 1.3
			for t := range 6 {
				r.Mask[t] = false
			}
			rl = append(rl, r)
		case i < 6:
			r.Weight = make([]float32, len(r.Mask))
			for t := range r.Weight {
				r.Weight[t] = float32(t%3) - 0.5
			}
			sft = append(sft, r)
		default:
			s.Unit = int64(i%2 + 1) // the two of a pair are not neighbours
			pairs = append(pairs, r)
		}
	}
	streams := []engine.Stream{{Name: "sft", Norm: engine.SeqMean, Coef: 0.7, Rows: append(sft, pairs[1], rl[2])}}
	for _, o := range objective.All() {
		if o.Scope() == engine.ScopeBatch && !caps[engine.CapBatchScope] || (engine.Info{Caps: caps}).Check(o.Name(), o.Needs().Capabilities()) != nil {
			continue // not offered
		}
		s := engine.Stream{Name: o.Name(), Obj: o, Norm: engine.TokenMean, Coef: 0.1, Rows: rl}
		if o.Scope() == engine.ScopeBatch && !caps[engine.CapBatchScope] {
			continue
		}
		if _, dpo := o.(objective.DPO); dpo || o.Scope() == engine.ScopeUnit {
			s.Norm, s.Rows = engine.UnitMean, pairs
		}
		streams = append(streams, s)
	}
	streams[0].Obj = objective.CrossEntropy{}
	return streams
}

// Every objective at once: the gradient and the losses do not depend on micro-batches or recomputation but by rounding, nor on processors at
// all, also where Backward is called several times; a wrong normaliser, a dropped micro-batch and a stream left out are seen.
func TestMixedGradient(t *testing.T) {
	for _, family := range []model.Family{model.Qwen3, model.GPT2} {
		m := loud(t, family, true)
		run := func(o Options, procs int, change func(*engine.Batch) []*engine.Batch) ([]float32, float64) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			e := open(t, m, o)
			loss := 0.0
			for _, b := range change(normalised(t, mixed()...)) {
				stats, err := e.Backward(ctx, b)
				if err != nil {
					t.Fatal(err)
				}
				loss += stats.Loss()
			}
			var g []float32
			for _, p := range m.Params() {
				g = append(g, p.Grad...)
			}
			e.clear()
			return g, loss
		}
		whole := func(b *engine.Batch) []*engine.Batch { return []*engine.Batch{b} }
		apart := func(b *engine.Batch) []*engine.Batch { // one call a stream
			var out []*engine.Batch
			for _, s := range b.Streams {
				out = append(out, &engine.Batch{Streams: []engine.Stream{s}})
			}
			return out
		}
		before := tensor.ParallelSections()
		one, loss := run(Options{}, 1, whole)
		if tensor.ParallelSections() != before {
			t.Fatal("one processor ran something in parallel")
		}
		two, twice := run(Options{}, 2, whole)
		if tensor.ParallelSections() == before {
			t.Fatal("two processors ran nothing in parallel")
		}
		if d := distance(one, two); d != 0 || loss != twice {
			t.Errorf("%s: two processors change the gradient by %g, the loss by %g", family, d, loss-twice)
		}
		for name, g := range map[string]func() ([]float32, float64){
			"one sequence at a time": func() ([]float32, float64) { return run(Options{MicroTokens: 1}, 2, whole) },
			"small micro-batches":    func() ([]float32, float64) { return run(Options{MicroTokens: 130}, 1, whole) },
			"recomputation":          func() ([]float32, float64) { return run(Options{MicroTokens: 130, Recompute: true}, 2, whole) },
			"one call a stream":      func() ([]float32, float64) { return run(Options{}, 2, apart) },
		} {
			got, l := g()
			if d := distance(one, got); d > 3e-6 || l-loss > 1e-9 || loss-l > 1e-9 {
				t.Errorf("%s, %s: the gradient changes by %g, the loss by %g", family, name, d, l-loss)
			}
		}
		for name, fault := range map[string]func(*engine.Batch) []*engine.Batch{
			"a wrong normaliser": func(b *engine.Batch) []*engine.Batch {
				b.Streams[0].Rows[0].Scale *= 1.1
				return whole(b)
			},
			"a dropped part": func(b *engine.Batch) []*engine.Batch { return apart(b)[1:] },
			"a swapped pair": func(b *engine.Batch) []*engine.Batch {
				at := slices.IndexFunc(b.Streams, func(s engine.Stream) bool { return s.Name == "dpo" })
				r := b.Streams[at].Rows
				r[0], r[2] = r[2], r[0]
				return whole(b)
			},
			"a part done twice": func(b *engine.Batch) []*engine.Batch { return append(apart(b), apart(b)[3]) },
		} {
			if g, _ := run(Options{}, 2, fault); distance(one, g) < 1e-4 {
				t.Errorf("%s: %s changes the gradient by %g only", family, name, distance(one, g))
			}
		}
	}
}
