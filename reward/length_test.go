package reward

import (
	"math"
	"slices"
	"testing"
)

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 5e-5 {
		t.Errorf("%s: %.5f, want %.5f", what, got, want)
	}
}

func TestCosineLength(t *testing.T) {
	for _, c := range []struct{ length, want float64 }{{0, 1}, {7500, .8682}, {15000, .55}, {30000, .1}, {45000, .1}} {
		near(t, "correct", CosineLength(true, c.length, 30000), c.want)
		near(t, "wrong", CosineLength(false, c.length, 30000), -c.want)
	}
}

func TestGroupLength(t *testing.T) {
	for _, c := range []struct {
		correct       bool
		lengths, want []float64
	}{
		{true, []float64{10, 20, 30}, []float64{.5, 0, -.5}},
		{false, []float64{10, 20, 30}, []float64{0, 0, -.5}},
		{true, []float64{7, 7, 7}, []float64{0, 0, 0}},
		{false, nil, []float64{}},
	} {
		correct := slices.Repeat([]bool{c.correct}, len(c.lengths))
		if got := GroupLength(correct, c.lengths); !slices.Equal(got, c.want) {
			t.Errorf("%v %v: %v, want %v", c.correct, c.lengths, got, c.want)
		}
	}
}

func TestFormatTerms(t *testing.T) {
	for text, want := range map[string]float64{
		`so \boxed{5}</think> it is 5`:     1,
		`so 5</think> \boxed{5}`:           0,
		`so \boxed{5}`:                     0,
		`so \boxed{5</think>}`:             0,
		`\boxed{4} no, \boxed{5}</think>x`: 1,
	} {
		if got := BoxedBefore(text, "</think>"); got != want {
			t.Errorf("%q: %g, want %g", text, got, want)
		}
	}
	for text, want := range map[string]float64{"12+3=15;15-4=11|11": 1, "11": 0, "|11": 0, "12+3=15|": 0, "1+1=2|2|2": 0, "1+1=2| ": 0} {
		if got := StepsThenAnswer(text); got != want {
			t.Errorf("%q: %g, want %g", text, got, want)
		}
	}
}
