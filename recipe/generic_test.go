package recipe

import (
	"context"
	"io"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/engine/local"
	"github.com/hone-lm/hone/objective"
	"github.com/hone-lm/hone/task"
	"github.com/hone-lm/hone/tensor"
	"github.com/hone-lm/hone/train"
)

// lastBatch starts a recipe on the nano model and returns the streams of its last training node's first step.
func lastBatch(t *testing.T, name string, more ...string) (*train.Session, []engine.Stream) {
	t.Helper()
	s := launch(t, name, t.TempDir(), more...)
	t.Cleanup(func() { s.Run.Close() })
	last := len(s.Plan.Nodes) - 1
	if slices.ContainsFunc(s.Plan.Nodes, func(n train.Node) bool { return n.Kind == train.Build }) { // its rows are needed
		whole := s.Plan
		s.Plan.Nodes = whole.Nodes[:last]
		if err := s.Exec(context.Background()); err != nil {
			t.Fatal(err)
		}
		s.Plan = whole
	}
	streams, err := s.FirstBatch(context.Background(), &s.Plan.Nodes[last])
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

// relative is the distance of two gradients over the norm of the first; NaN counts as far away.
func relative(a, b []float32) float64 {
	d, n := 0.0, 0.0
	for i := range a {
		d += (float64(a[i]) - float64(b[i])) * (float64(a[i]) - float64(b[i]))
		n += float64(a[i]) * float64(a[i])
	}
	if r := math.Sqrt(d / n); len(a) == len(b) && n > 0 && !math.IsNaN(r) {
		return r
	}
	return math.Inf(1) // a gradient of norm zero proves nothing
}

func sameBits(a, b []float32) bool {
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
			return false
		}
	}
	return len(a) == len(b)
}

// far is the distance between gradients above which they are not the same up to rounding.
const far = 3e-6

// bench is one recipe's first batch on an engine whose micro-batches and processors can be chosen.
type bench struct {
	t       *testing.T
	session *train.Session
	streams []engine.Stream
}

// run returns the gradient and how many sections of it really ran in parallel.
func (b *bench) run(micro, procs int, spoil func(*engine.Batch)) ([]float32, engine.Stats, uint64) {
	b.t.Helper()
	e, err := local.New(b.session.Engine.(*local.Engine).Model(), nil, local.Options{MicroTokens: micro})
	if err != nil {
		b.t.Fatal(err)
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
	before := tensor.ParallelSections()
	g, stats := gradient(b.t, e, b.streams, spoil)
	return g, stats, tensor.ParallelSections() - before
}

// cases are every registered recipe with its defaults, and settings that normalise differently or bring more streams.
func cases() []string {
	return append(Names(), "sft norm=seq_mean", "grpo norm=seq_mean", "grpo norm=constant advantage=mean_only",
		"grpo kl=0.1 kl_form=k1 temperature=0.7", "grpo lora.rank=2 kl=0.1 kl_form=k1")
}

// For every registered recipe: the gradient depends on the split into micro-batches only by rounding and on GOMAXPROCS not at all, and
// each of these comparisons sees a planted fault of the kind that it is there for.
func TestEveryRecipe(t *testing.T) {
	for _, c := range cases() {
		t.Run(c, func(t *testing.T) {
			args := strings.Fields(c)
			if testing.Short() && args[0] != "sft" && args[0] != "grpo" {
				t.Skip("runs every recipe")
			}
			s, streams := lastBatch(t, args[0], args[1:]...)
			b := &bench{t, s, streams}
			whole, stats, parallel := b.run(1<<20, 2, nil)
			if parallel == 0 {
				t.Error("nothing ran in parallel")
			}
			one, _, parallel := b.run(1<<20, 1, nil)
			if parallel != 0 {
				t.Errorf("%d parallel sections on one processor", parallel)
			}
			if !sameBits(whole, one) {
				t.Errorf("GOMAXPROCS changes the gradient by %g", relative(whole, one))
			}
			for _, micro := range []int{1, 40} {
				if split, _, _ := b.run(micro, 2, nil); relative(whole, split) > far {
					t.Errorf("micro-batches of %d tokens change the gradient by %g", micro, relative(whole, split))
				}
			}
			b.faults(whole)
			if p, _ := Get(args[0]); p.OnPolicy {
				onPolicy(t, s.Engine, streams, stats)
			}
		})
	}
}

// faults plants three and fails where a comparison does not see one.
func (b *bench) faults(whole []float32) {
	b.t.Helper()
	half := func(from, to int) func(*engine.Batch) {
		return func(batch *engine.Batch) {
			for i := range batch.Streams {
				rows := batch.Streams[i].Rows
				batch.Streams[i].Rows = rows[from*len(rows)/2 : to*len(rows)/2]
			}
		}
	}
	wrong, _, _ := b.run(40, 2, func(batch *engine.Batch) { // every micro-batch counted for itself: here, all but the first as if it were smaller
		for i := range batch.Streams[0].Rows[1:] {
			batch.Streams[0].Rows[1+i].Scale *= 1.01
		}
	})
	if relative(whole, wrong) <= far {
		b.t.Error("a wrong normaliser was not seen")
	}
	first, _, _ := b.run(40, 2, half(0, 1))
	if relative(whole, first) <= far {
		b.t.Error("dropped micro-batches were not seen")
	}
	second, _, _ := b.run(40, 2, half(1, 2))
	for i := range first {
		first[i] += second[i]
	}
	if relative(whole, first) > far {
		b.t.Errorf("the gradient of two halves is %g away from the whole", relative(whole, first))
	}
	if sameBits(whole, first) {
		b.t.Error("a sum per thread was not seen: two halves added give the same bits")
	}
}

// onPolicy: before the first update the probability of every sampled token under Backward's model is to the bit the one it was sampled with.
func onPolicy(t *testing.T, e engine.Engine, streams []engine.Stream, stats engine.Stats) {
	t.Helper()
	tokens := 0
	for _, s := range streams {
		for _, r := range s.Rows {
			old := r.Seq.Channel(engine.ChanOld)
			scores, err := e.Score(context.Background(), []*engine.Sequence{r.Seq}, engine.Want{})
			if err != nil {
				t.Fatal(err)
			}
			for k := range r.Mask {
				if r.Mask[k] && r.Seq.KindAt(k) == engine.KindSampled {
					if ratio := math.Exp(float64(scores[0].LogProb[k]) - float64(old[k])); ratio != 1 {
						t.Fatalf("%s sample %d token %d: ratio %v", r.Seq.ID.Problem, r.Seq.ID.Sample, k, ratio)
					}
					tokens++
				}
			}
		}
	}
	if tokens < 20 {
		t.Errorf("only %d sampled tokens compared", tokens)
	}
	for _, s := range stats.Streams {
		if ratio, ok := s.Tally.Mean("ratio"); ok && ratio == 1 {
			return
		}
	}
	t.Errorf("no stream tallied a ratio of exactly 1: %+v", stats.Streams)
}

// Equal scores within a group give an exactly zero gradient, whatever the score and the estimator.
func TestZeroAdvantage(t *testing.T) {
	for _, kind := range objective.GroupAdvantages {
		_, cfg, err := Parse("grpo", "", nil, append(quick("grpo"), "advantage="+string(kind), "group_size=7", "overlong=0"))
		if err != nil {
			t.Fatal(err)
		}
		s, err := Start(context.Background(), cfg, nil, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		n := &s.Plan.Nodes[len(s.Plan.Nodes)-1]
		n.Grader = constant{n.Grader}
		streams, err := s.FirstBatch(context.Background(), n)
		if err != nil {
			t.Fatal(err)
		}
		g, stats := gradient(t, s.Engine.(*local.Engine), streams, nil)
		for i, v := range g {
			if v != 0 {
				t.Fatalf("%s: element %d of the gradient is %g", kind, i, v)
			}
		}
		if stats.Trained == 0 {
			t.Errorf("%s: no token was trained on", kind)
		}
	}
}

// constant is a task that gives every answer a score whose mean over seven rounds.
type constant struct{ task.Task }

func (constant) Check(*task.Problem, string) task.Result {
	return task.Result{Score: 0.1, Verdict: task.Wrong}
}
