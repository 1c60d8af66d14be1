package objective

import (
	"math"
	"testing"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/internal/rng"
)

// every objective of the package; a new one belongs here.
var all = []engine.Objective{CrossEntropy{}, Clipped{ClipRange{Low: 0.2, High: 0.28}}, Clipped{ClipRange{Low: 0.2, High: 0.2, Dual: 3}}, PolicyGradient{},
	KL{Estimator: K1}, KL{Estimator: K2}, KL{Estimator: K3}, EntropyBonus{}, DPO{Beta: 0.3}}

// views makes the rows that an objective sees, with random columns.
func views(o engine.Objective) []engine.View {
	n := 1
	if o.Scope() == engine.ScopeUnit {
		n = 2
	}
	var out []engine.View
	for r := range n {
		k := rng.New(uint64(r+1), "objective")
		const tokens = 12
		s := &engine.Sequence{Tokens: make([]int32, tokens), Unit: 1}
		row := &engine.Row{Seq: s, Mask: make([]bool, tokens), Weight: make([]float32, tokens), Scale: 0.37}
		v := engine.View{Row: row, To: tokens, LogProb: make([]float32, tokens), Entropy: make([]float32, tokens), DLogProb: make([]float64, tokens), DEntropy: make([]float64, tokens)}
		for _, name := range []string{engine.ChanOld, engine.ChanRef, engine.ChanAdvantage} {
			c := s.SetChannel(name, nil)
			for t := range c {
				c[t] = float32(k.Sub(name).Normal(uint64(t))) - 1
			}
		}
		for t := range tokens {
			v.LogProb[t] = s.Channel(engine.ChanOld)[t] + float32(0.5*k.Sub("move").Normal(uint64(t)))
			v.Entropy[t] = float32(k.Sub("entropy").Float64(uint64(t)))
			row.Mask[t], row.Weight[t] = t%3 != 0, float32(k.Sub("weight").Normal(uint64(t)))
		}
		out = append(out, v)
	}
	return out
}

// TestDerivatives holds every closed form against central differences.
func TestDerivatives(t *testing.T) {
	for _, o := range all {
		v := views(o)
		o.Eval(v, nil)
		checked := 0
		for r := range v {
			for _, col := range []struct {
				x []float32
				d []float64
			}{{v[r].LogProb, v[r].DLogProb}, {v[r].Entropy, v[r].DEntropy}} {
				for i := range col.x {
					const h = 1.0 / 1024 // exact in float32
					at := func(x float32) float64 {
						w := views(o)
						y := w[r].LogProb
						if &col.x[0] == &v[r].Entropy[0] {
							y = w[r].Entropy
						}
						y[i] = x
						return o.Eval(w, nil)
					}
					up, down := col.x[i]+h, col.x[i]-h
					got := (at(up) - at(down)) / float64(up-down)
					if math.Abs(got-col.d[i]) > 2e-3*(1+math.Abs(got)) {
						t.Errorf("%s: row %d token %d: derivative %g, difference %g", o.Name(), r, i, col.d[i], got)
					}
					if col.d[i] != 0 {
						checked++
						if math.Abs(got-1.1*col.d[i]) <= 2e-3*(1+math.Abs(got)) && math.Abs(col.d[i]) > 0.1 {
							t.Fatalf("%s: a derivative that is 10 %% off passed", o.Name())
						}
					}
					if !v[r].Row.Mask[i] && col.d[i] != 0 {
						t.Errorf("%s: token %d is not in the mask but has a derivative", o.Name(), i)
					}
				}
			}
		}
		if checked == 0 {
			t.Errorf("%s: every derivative is zero", o.Name())
		}
	}
}

func TestGroupAdvantage(t *testing.T) {
	rewards := []float64{2, -0.5, -0.5, -2} // card warmup
	for _, c := range []struct {
		kind GroupAdvantage
		want []float64
	}{
		{MeanOnly, []float64{2.25, -0.25, -0.25, -1.75}},
		{LeaveOneOut, []float64{3, -1. / 3, -1. / 3, -7. / 3}},
		{MeanStdPop, []float64{1.5667, -0.1741, -0.1741, -1.2185}},
		{MeanStd, []float64{1.3568, -0.1508, -0.1508, -1.0553}},
	} {
		got, err := c.kind.Of(rewards, 0)
		if err != nil {
			t.Fatal(err)
		}
		for i := range got {
			if math.Abs(got[i]-c.want[i]) > 5e-5 {
				t.Errorf("%s: %v, want %v", c.kind, got, c.want)
				break
			}
		}
	}
	for _, kind := range GroupAdvantages {
		got, err := kind.Of([]float64{0.1, 0.1, 0.1}, AdvantageEps)
		if err != nil || got[0] != 0 || got[2] != 0 {
			t.Errorf("%s of equal rewards: %v, %v; want exact zeros", kind, got, err)
		}
		if _, err := kind.Of([]float64{1}, 0); err == nil {
			t.Errorf("%s of one reward: no error", kind)
		}
	}
}

// At the reference k3 is 0 with derivative 0; on policy the clipped loss has ratio 1 and derivative -A.
func TestLimits(t *testing.T) {
	if kl, d := K3.Value(-1.3, -1.3); kl != 0 || d != 0 {
		t.Errorf("k3 at the reference: %g, %g", kl, d)
	}
	loss, d, ratio, clipped := Clipped{ClipRange{Low: 0.2, High: 0.2}}.token(0, 0.7)
	if loss != -0.7 || d != -0.7 || ratio != 1 || clipped != 0 {
		t.Errorf("on policy: loss %g, derivative %g, ratio %g, clipped %g", loss, d, ratio, clipped)
	}
}
