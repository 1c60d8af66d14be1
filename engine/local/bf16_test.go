package local

import (
	"testing"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/model"
	"github.com/hone-lm/hone/tensor"
)

// What holds in float32 holds in bf16: the ratio is exactly 1, bytes depend neither on neighbours nor on processors nor on the cache, changed
// weights show, states go on where they were saved, and warm rounds allocate nothing.
func TestBF16(t *testing.T) {
	if !tensor.HasBF16() {
		t.Skip("no instruction for bf16: the engine takes f32")
	}
	precision = BF16
	defer func() { precision = "" }()
	for name, test := range map[string]func(*testing.T){
		"RatioIsOne": TestRatioIsOne, "BatchRatioIsOne": TestBatchRatioIsOne, "RatioIsOneWithSharedAdapters": TestRatioIsOneWithSharedAdapters,
		"SamplesDoNotSeeNeighbours": TestSamplesDoNotSeeNeighbours, "RefilledSlots": TestRefilledSlots, "CachedPrompts": TestCachedPromptsKeepTheirBytes,
		"ChangedWeightsForget": TestChangedWeightsForget, "Gradient": TestGradient, "ScoreIsBackward": TestScoreIsBackward,
		"Frozen": TestFrozen, "State": TestState, "DecodingAllocatesNothing": TestDecodingAllocatesNothing,
		"BackwardAllocations": TestBackwardAllocations,
	} {
		t.Run(name, test)
	}
}

func scores(t *testing.T, e *Engine) []float32 {
	t.Helper()
	s, err := e.Score(ctx, []*engine.Sequence{prompt(1, 60)}, engine.Want{})
	if err != nil {
		t.Fatal(err)
	}
	return s[0].LogProb
}

// The setting changes the numbers, a little, and is refused where it means nothing.
func TestPrecision(t *testing.T) {
	m := loud(t, model.Llama, false)
	exact := scores(t, open(t, m, Options{Precision: F32}))
	e := open(t, m, Options{Precision: BF16})
	rounded := scores(t, e)
	if want := map[bool]string{true: BF16, false: F32}[tensor.HasBF16()]; e.Info().Precision != want {
		t.Errorf("precision is %s on this machine, want %s", e.Info().Precision, want)
	}
	if d := distance(exact, rounded); tensor.HasBF16() && !(d > 1e-5 && d < 3e-2) {
		t.Errorf("bf16 changes log-probs by %g", d)
	}
	with, err := e.Memory(engine.Work{Longest: 60, Sample: 60})
	if err != nil {
		t.Fatal(err)
	}
	if without, _ := e.Memory(engine.Work{Longest: 60}); tensor.HasBF16() && with.Weights-without.Weights != m.PackedBF16() {
		t.Errorf("sampling adds %d bytes of weights to the plan, the copies take %d", with.Weights-without.Weights, m.PackedBF16())
	}
	if _, err := New(m, nil, Options{Precision: "f16"}); err == nil {
		t.Error("precision f16 is taken")
	}
}

// A processor without the instruction gets float32, with its bytes.
func TestPrecisionFallsBack(t *testing.T) {
	restore, ok := tensor.ForceKernelLevel("avx2")
	defer restore()
	if !ok {
		t.Skip("no AVX2")
	}
	m := loud(t, model.Llama, false)
	e := open(t, m, Options{Precision: BF16})
	if p := e.Info().Precision; p != F32 {
		t.Errorf("precision is %s", p)
	}
	if d := distance(scores(t, open(t, m, Options{})), scores(t, e)); d != 0 {
		t.Errorf("log-probs differ from f32's by %g", d)
	}
}
