package objective

import (
	"math"
	"slices"
	"testing"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/internal/rng"
)

// The published curve at its own pivot and at others, on logits of entropy 0.9475 (1.0039 at 1.1 and 1.1526 at 1.5); temperatures from a
// calculation of its own.
func TestEntropyTemperature(t *testing.T) {
	paper := AroundPivot(1.2)
	if paper.Slope != 2 || math.Abs(paper.Rise-0.5) > 1e-15 {
		t.Errorf("at a pivot of 1.2: %+v", paper)
	}
	little := paper
	little.Rise = 0.1
	row := []float32{2, 1, 0, -1}
	for _, c := range []struct {
		temp   EntropyTemperature
		logits []float32
		want   float64
		within float64
	}{
		{paper, row, 1.4386, 5e-5},
		{AroundPivot(0.3), row, 1.250114, 1e-6},
		{AroundPivot(0.6), row, 1.481394, 1e-6},
		{AroundPivot(30), row, 1.5, 0},                              // more than the entropy at 1.5
		{little, row, 1.1, 0},                                       // less than the entropy at 1.1
		{paper, []float32{5, 4, 3, 2}, 1.4386, 5e-5},                // a shift changes nothing
		{paper, append(slices.Clone(row), -90, -900), 1.4386, 5e-5}, // what has no probability has no part
		{paper, []float32{8, 0, 0, 0}, 1.1, 0},                      // sure: entropy 0.0090
		{paper, []float32{0, 0, 0, 0}, 1.5, 0},                      // no temperature raises the entropy
	} {
		if got := c.temp.Of(c.logits, logitRow(c.logits, nil).LSE); !(math.Abs(got-c.want) <= c.within) {
			t.Errorf("%+v, %v: %.6f, want %g", c.temp, c.logits, got, c.want)
		}
	}
}

// Entropies are of the largest logits alone, wherever they stand; the row decides by all of them whether it is sure.
func TestEntropyTemperatureTopK(t *testing.T) {
	row := make([]float32, 700)
	for i := range row {
		row[i] = float32(2 * rng.New(3, "row").Normal(uint64(i)))
	}
	sorted := slices.Clone(row)
	slices.SortFunc(sorted, func(a, b float32) int { return int(math.Copysign(1, float64(b-a))) })
	lse := logitRow(row, nil).LSE
	for _, k := range []int{2, 3, 64, 512, 699, 700, 701} {
		all := EntropyTemperature{Low: 1.1, High: 1.5, Pivot: 4.5, Slope: 1, Rise: 0.6}
		temp := all
		temp.TopK = k
		want := all.Of(sorted[:min(k, 700)], lse)
		if got := temp.Of(row, lse); math.Abs(got-want) > 1e-6 {
			t.Errorf("top %d: %.7f, of those alone %.7f", k, got, want)
		}
		if k == 64 && math.Abs(want-all.Of(row, lse)) < 1e-3 {
			t.Error("top 64 and all have one temperature: this shows nothing")
		}
	}
	sure := AroundPivot(4.5)
	sure.Sure = rowEntropy(row, lse) + 1e-6
	if got := sure.Of(row, lse); got != sure.Low {
		t.Errorf("a row of %g nats with the threshold there: %g", sure.Sure-1e-6, got)
	}
}

// The term is the heated log-prob of the row's own token, 0 for tokens of other kinds, and notes its temperature where there is a channel. At
// temperature 1 it has the bits of the engine's own log-prob. Its derivative is that of differences with the temperature held.
func TestTemperedLogProb(t *testing.T) {
	seq := &engine.Sequence{Tokens: []int32{3, 3, 0}, Kind: []engine.Kind{engine.KindPrompt, engine.KindPrompt, engine.KindDemo}}
	row := logitRow([]float32{2, 1, 0, -1}, nil)
	row.Seq, row.T = seq, 2
	term := TemperedLogProb{AroundPivot(1.2), engine.KindDemo}
	if got := math.Exp(float64(term.Value(row))); math.Abs(got-0.5341) > 5e-5 {
		t.Errorf("heated probability %.5f", got)
	}
	tau := seq.SetChannel(ChanTemperature, nil)
	term.Value(row)
	if math.Abs(float64(tau[2])-1.4386) > 5e-5 || tau[1] != 0 {
		t.Errorf("temperatures %v", tau)
	}
	plain := TemperedLogProb{FixedTemperature(1), engine.KindDemo}
	if got := plain.Value(row); got != row.Logits[0]-row.LSE {
		t.Errorf("at temperature 1: %v", got)
	}
	d := make([]float32, 4)
	prompt := row
	prompt.T = 1
	if term.Grad(prompt, 1, d); term.Value(prompt) != 0 || !slices.Equal(d, make([]float32, 4)) {
		t.Errorf("a prompt's token: %g, derivative %v", term.Value(prompt), d)
	}
	held := TemperedLogProb{FixedTemperature(1.4385722414443287), engine.KindDemo}
	term.Grad(row, -2, d)
	for i := range row.Logits {
		const h = 1.0 / 64
		at := func(x float32) float64 {
			moved := slices.Clone(row.Logits)
			moved[i] += x
			r := logitRow(moved, nil)
			r.Seq, r.T = seq, 2
			return float64(held.Value(r))
		}
		if want := -2 * (at(h) - at(-h)) / (2 * h); math.Abs(float64(d[i])-want) > 1e-4 || math.Abs(1.01*float64(d[i])-want) < 1e-4 {
			t.Errorf("derivative %d: %g, differences give %g", i, d[i], want)
		}
	}
}
