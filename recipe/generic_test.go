package recipe

import (
	"context"
	"io"
	"math"
	"runtime"
	"testing"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/engine/local"
	"github.com/hone-lm/hone/tensor"
	"github.com/hone-lm/hone/train"
)

// lastBatch starts a recipe on the nano model and returns the streams of its last training node's first step.
func lastBatch(t *testing.T, name string, more ...string) (*train.Session, []engine.Stream) {
	t.Helper()
	_, cfg, err := Parse(name, "", nil, append(quick(name), more...))
	if err != nil {
		t.Fatal(err)
	}
	s, err := Start(context.Background(), cfg, nil, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	streams, err := s.FirstBatch(context.Background(), &s.Plan.Nodes[len(s.Plan.Nodes)-1])
	if err != nil {
		t.Fatal(err)
	}
	for i := range streams { // an untrained policy gets no rewards: give the advantages something to do
		for _, r := range streams[i].Rows {
			if adv := r.Seq.Channel(engine.ChanAdvantage); adv != nil {
				for k := range adv {
					adv[k] = float32(r.Seq.ID.Sample) - 1.3
				}
			}
		}
	}
	return s, streams
}

// gradient runs Backward on the batch and returns a copy of the gradient. spoil may break the batch after it was normalised.
func gradient(t *testing.T, e *local.Engine, streams []engine.Stream, spoil func(*engine.Batch)) ([]float32, engine.Stats) {
	t.Helper()
	b, err := engine.Normalise(streams)
	if err != nil {
		t.Fatal(err)
	}
	if spoil != nil {
		spoil(b)
	}
	stats, err := e.Backward(context.Background(), b)
	if err != nil {
		t.Fatal(err)
	}
	var g []float32
	for _, p := range e.Model().Params() {
		g = append(g, p.Grad...)
		p.ZeroGrad()
	}
	return g, stats
}

func relative(a, b []float32) float64 {
	d, n := 0.0, 0.0
	for i := range a {
		d += (float64(a[i]) - float64(b[i])) * (float64(a[i]) - float64(b[i]))
		n += float64(a[i]) * float64(a[i])
	}
	if n == 0 {
		return math.Inf(1) // a gradient of norm zero proves nothing
	}
	return math.Sqrt(d / n)
}

// For every registered recipe: the gradient depends on the split into micro-batches only by rounding and on GOMAXPROCS not at all, a wrong
// normaliser and a dropped row are seen, and on policy the ratio is exactly 1.
func TestEveryRecipe(t *testing.T) {
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
			run := func(micro, procs int, spoil func(*engine.Batch)) ([]float32, engine.Stats) {
				runtime.GOMAXPROCS(2) // sampling is the same either way; see engine/local
				s, streams := lastBatch(t, name)
				e, err := local.New(s.Engine.(*local.Engine).Model(), nil, local.Options{MicroTokens: micro})
				if err != nil {
					t.Fatal(err)
				}
				runtime.GOMAXPROCS(procs)
				return gradient(t, e, streams, spoil)
			}
			before := tensor.ParallelSections()
			whole, stats := run(1<<20, 2, nil)
			if tensor.ParallelSections() == before {
				t.Error("nothing ran in parallel")
			}
			if one, _ := run(1<<20, 1, nil); relative(whole, one) != 0 {
				t.Errorf("GOMAXPROCS changes the gradient by %g", relative(whole, one))
			}
			for _, micro := range []int{1, 40} {
				if split, _ := run(micro, 2, nil); relative(whole, split) > 3e-6 {
					t.Errorf("micro-batches of %d tokens change the gradient by %g", micro, relative(whole, split))
				}
			}
			for fault, spoil := range map[string]func(*engine.Batch){
				"wrong normaliser": func(b *engine.Batch) { b.Streams[0].Rows[0].Scale *= 1.5 },
				"dropped row":      func(b *engine.Batch) { b.Streams[0].Rows = b.Streams[0].Rows[1:] },
			} {
				if bad, _ := run(40, 2, spoil); relative(whole, bad) < 1e-4 {
					t.Errorf("%s was not seen", fault)
				}
			}
			p, _ := Get(name)
			for _, s := range stats.Streams {
				if ratio, ok := s.Tally.Mean("ratio"); p.OnPolicy && s.Name == "rl" && (!ok || ratio != 1) {
					t.Errorf("on policy the ratio is %v", ratio)
				}
			}
		})
	}
}

// Equal scores within a group give an exactly zero gradient.
func TestZeroAdvantage(t *testing.T) {
	s, streams := lastBatch(t, "grpo")
	for _, r := range streams[0].Rows {
		clear(r.Seq.Channel(engine.ChanAdvantage))
	}
	g, _ := gradient(t, s.Engine.(*local.Engine), streams, nil)
	for i, v := range g {
		if v != 0 {
			t.Fatalf("element %d of the gradient is %g", i, v)
		}
	}
}
