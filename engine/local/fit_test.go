package local

import (
	"bytes"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/model"
)

func TestLargest(t *testing.T) {
	m := loud(t, model.Llama, false) // context 256
	for _, c := range []struct {
		micro int
		w     engine.Work
		want  []int
	}{
		{100, engine.Work{Longest: 40}, []int{40, 40, 20}},
		{100, engine.Work{Longest: 40, Rows: 2}, []int{40, 40}},
		{100, engine.Work{Longest: 40, Rows: 9}, []int{40, 40, 20}},
		{100, engine.Work{Longest: 130}, []int{130}},
		{100, engine.Work{Longest: 300, Rows: 4}, []int{256, 44}}, // a pair
		{101, engine.Work{Longest: 50}, []int{50, 50}},
		{4, engine.Work{}, []int{2, 2}},
		{1, engine.Work{Longest: 1}, []int{2}},
	} {
		if got := open(t, m, Options{MicroTokens: c.micro}).largest(c.w); !slices.Equal(got, c.want) {
			t.Errorf("micro_tokens %d, %+v: %v, want %v", c.micro, c.w, got, c.want)
		}
	}
}

// Fit leaves no trace: states, updates and samples have the bytes that they have without it, before the first update and after one.
func TestFitChangesNothing(t *testing.T) {
	for _, lora := range []bool{false, true} {
		var want []byte
		for _, fit := range []bool{false, true} {
			e := open(t, loud(t, model.Llama, lora), Options{MicroTokens: 64})
			try := func() {
				before := saved(t, e)
				if err := e.Fit(ctx, engine.Work{Longest: 50}); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(before, saved(t, e)) {
					t.Error("Fit changed the state")
				}
				if u, err := e.Step(ctx, engine.Optim{LR: 1e-3, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8}); err != nil || !u.Skipped {
					t.Errorf("a step after Fit: %+v, %v", u, err)
				}
			}
			var got []byte
			for range 2 {
				if fit {
					try()
				}
				train(t, e)
				out, err := e.Sample(ctx, []engine.Prompt{{Seq: &engine.Sequence{Tokens: []int32{1, 2, 3}}, N: 2, Params: engine.Params{MaxTokens: 9}, Key: engine.NewKey(1, "fit")}})
				if err != nil {
					t.Fatal(err)
				}
				for _, s := range out[0] {
					for i, id := range s.Tokens {
						got = append(got, byte(id), byte(int(1e6*s.Chan[engine.ChanOld][i])))
					}
				}
			}
			got = append(got, saved(t, e)...)
			if fit && !bytes.Equal(want, got) {
				t.Errorf("lora %v: with Fit the bytes are others", lora)
			}
			want = got
		}
	}
}

func TestFitErrors(t *testing.T) {
	e := open(t, loud(t, model.Llama, false), Options{MicroTokens: 64})
	e.Model().Params()[0].Data[0] /= 0.0 * e.Model().Params()[0].Data[0] // not finite
	if err := e.Fit(ctx, engine.Work{Longest: 20}); err == nil || !strings.Contains(err.Error(), `"the longest batch" sample 0`) {
		t.Errorf("a damaged model: %v", err)
	}
	e = open(t, loud(t, model.Llama, false), Options{MicroTokens: 64})
	e.grads = true
	if err := e.Fit(ctx, engine.Work{Longest: 20}); err == nil || !strings.Contains(err.Error(), "before Backward") {
		t.Errorf("with a gradient: %v", err)
	}
}

// The plan is what the work takes: the memory that training, a frozen copy and sampling keep is within a tenth of it.
func TestMemoryPlan(t *testing.T) {
	live := func() int64 {
		runtime.GC()
		runtime.GC() // the second empties pools
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return int64(s.HeapAlloc)
	}
	for _, recompute := range []bool{false, true} {
		c := small(model.Llama)
		c.Vocab, c.Hidden, c.Inner, c.HeadDim, c.Layers = 2000, 96, 256, 24, 4
		m, err := model.New(c, 1)
		if err != nil {
			t.Fatal(err)
		}
		e := open(t, m, Options{MicroTokens: 2000, Recompute: recompute})
		w := engine.Work{Longest: 250, Frozen: 1, Sample: 256, Answers: 40}
		plan, err := e.Memory(w)
		if err != nil {
			t.Fatal(err)
		}
		near := func(what string, got, want int64) {
			t.Helper()
			if d := float64(got-want) / float64(want); d > 0.1 || d < -0.1 || want < 1<<20 {
				t.Errorf("recompute %v: %s takes %d bytes, the plan says %d", recompute, what, got, want)
			}
		}
		if plan.Weights != 4*int64(m.Count()) || plan.Total() != plan.Weights+plan.Optimiser+plan.Frozen+plan.Activations+plan.Cache {
			t.Errorf("%+v", plan)
		}
		before := live()
		if err := e.Fit(ctx, w); err != nil {
			t.Fatal(err)
		}
		trained := live()
		near("training", trained-before, plan.Optimiser+plan.Activations)
		f, err := e.Freeze(ctx, "start")
		if err != nil {
			t.Fatal(err)
		}
		seqs := make([]*engine.Sequence, 8)
		for i := range seqs {
			seqs[i] = &engine.Sequence{Tokens: make([]int32, 250)}
		}
		for range 2 { // the arena is whole from the second pass on
			if _, err := f.Score(ctx, seqs, engine.Want{}); err != nil {
				t.Fatal(err)
			}
		}
		frozen := live()
		near("a frozen copy", frozen-trained, plan.Frozen)
		prompts := make([]engine.Prompt, 40) // with nothing in common: what they share takes less
		for i := range prompts {
			prompts[i] = engine.Prompt{Seq: &engine.Sequence{Tokens: append([]int32{int32(i)}, make([]int32, 199)...)}, N: 1}
		}
		if _, err := e.Sample(ctx, prompts); err != nil {
			t.Fatal(err)
		}
		near("sampling", live()-frozen, plan.Cache)
		runtime.KeepAlive(e)
		runtime.KeepAlive(f)
	}
}

// The first pass of sampling takes the room that is planned, not that of all layers at once.
func TestFirstPassIsPlanned(t *testing.T) {
	cfg := model.Config{Family: model.Llama, Vocab: 64, Hidden: 64, Inner: 512, Layers: 16, Heads: 2, MaxPos: 256, NormEps: 1e-5, RopeTheta: 10000, Tied: true}
	m, err := model.New(cfg, 1)
	if err != nil {
		t.Fatal(err)
	}
	e := open(t, m, Options{Slots: 1})
	plan, err := e.Memory(engine.Work{Sample: 201, Answers: 1})
	if err != nil {
		t.Fatal(err)
	}
	prompt := &engine.Sequence{Tokens: make([]int32, 200)}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := e.Sample(ctx, []engine.Prompt{{Seq: prompt, N: 1, Params: engine.Params{MaxTokens: 1}, Key: engine.NewKey(1, "room")}}); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	took := int64(after.TotalAlloc - before.TotalAlloc)
	if most := 2*plan.Cache + 2<<20; took > most { // the tape, packing space, lists; the activations of all layers are 15 MiB
		t.Errorf("the first pass allocated %d bytes, planned are %d for the cache and the pass", took, plan.Cache)
	}
	t.Logf("%d bytes allocated, %d planned", took, plan.Cache)
}

// Learned positions end with the context: what is planned for more rows than that is several documents.
func TestPlanBeyondPositions(t *testing.T) {
	cfg := model.Config{Family: model.GPT2, Vocab: 64, Hidden: 32, Inner: 64, Layers: 1, Heads: 2, MaxPos: 16, NormEps: 1e-5, Tied: true}
	m, err := model.New(cfg, 1)
	if err != nil {
		t.Fatal(err)
	}
	e := open(t, m, Options{Slots: 1, MicroTokens: 64})
	if _, err := e.Memory(engine.Work{Sample: 16, Answers: 1}); err != nil {
		t.Fatal(err)
	}
	seqs := make([]*engine.Sequence, 4)
	for i := range seqs {
		seqs[i] = &engine.Sequence{Tokens: make([]int32, 16)}
	}
	if _, err := e.Score(ctx, seqs, engine.Want{}); err != nil {
		t.Fatal(err)
	}
}
