package tensor

import (
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/hone-lm/hone/internal/rng"
)

// TestAdamW follows the formulas of torch.optim.AdamW in float64 over several updates, with decay on one group only, a learning-rate scale and clipping.
func TestAdamW(t *testing.T) {
	key := rng.New(2, "adamw")
	big, norm, frozen := randomTensor(key, 130, 257), randomTensor(key.Sub("norm"), 1, 17), randomTensor(key.Sub("frozen"), 3, 3)
	big.EnsureGrad()
	norm.EnsureGrad()
	o := NewAdamW(ParamGroup{Params: []*Tensor{big, frozen}, Decay: true}, ParamGroup{Params: []*Tensor{norm}, LRScale: 0.5})
	params := []*Tensor{big, norm}
	var p, m, v [2][]float64
	for i, x := range params {
		p[i], m[i], v[i] = wide(x.Data), make([]float64, len(x.Data)), make([]float64, len(x.Data))
	}
	still := append([]float32{}, frozen.Data...)
	for step := range 5 {
		c := AdamConfig{LR: 0.01, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Decay: 0.1, Clip: 100 * float64(1+step%2*9)}
		want := 0.0
		for i, x := range params {
			for n := range x.Grad {
				x.Grad[n] = float32(key.Normal(uint64(step*1_000_000 + i*100_000 + n)))
				want += float64(x.Grad[n]) * float64(x.Grad[n])
			}
		}
		want = math.Sqrt(want)
		got, err := o.Step(c)
		if err != nil || math.Abs(got-want) > 1e-9*want || math.Abs(GradNorm(params)-got) != 0 {
			t.Fatalf("norm %g, want %g (%v)", got, want, err)
		}
		clip := min(1, c.Clip/(want+1e-6))
		for i, x := range params {
			lr, decay := c.LR, c.Decay
			if i == 1 {
				lr, decay = c.LR*0.5, 0
			}
			for n := range p[i] {
				g := float64(x.Grad[n]) * clip
				p[i][n] *= 1 - lr*decay
				m[i][n] = c.Beta1*m[i][n] + (1-c.Beta1)*g
				v[i][n] = c.Beta2*v[i][n] + (1-c.Beta2)*g*g
				b1, b2 := 1-math.Pow(c.Beta1, float64(step+1)), 1-math.Pow(c.Beta2, float64(step+1))
				p[i][n] -= lr / b1 * m[i][n] / (math.Sqrt(v[i][n])/math.Sqrt(b2) + c.Eps)
			}
			fatal(t, near("parameter", x.Data, p[i], 2e-6))
		}
	}
	fatal(t, near("m", o.Slots[0].M, m[0], 1e-6))
	fatal(t, near("v", o.Slots[2].V, v[1], 1e-6))
	fatal(t, same("frozen parameter", frozen.Data, still))

	before := append([]float32{}, big.Data...)
	big.Grad[100] = float32(math.NaN())
	if _, err := o.Step(AdamConfig{LR: 1}); err == nil || !strings.Contains(err.Error(), big.Name) || o.Steps != 5 {
		t.Errorf("a gradient that is not finite: %v after %d steps", err, o.Steps)
	}
	fatal(t, same("parameter after a refused step", big.Data, before))
	o.ZeroGrad()
	if GradNorm(params) != 0 {
		t.Error("ZeroGrad left something")
	}
}

// A parameter that joins later is updated as by an optimiser of its own, and leaves the others alone.
func TestAdamWJoin(t *testing.T) {
	gradient := func(p *Tensor, step int) {
		p.EnsureGrad()
		for i := range p.Grad {
			p.Grad[i] = float32(rng.New(4, "join", uint64(step)).Normal(uint64(i)))
		}
	}
	c := AdamConfig{LR: 0.01, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Decay: 0.1}
	early, late, alone, without := randomTensor(rng.New(3, "a"), 5, 7), randomTensor(rng.New(3, "b"), 1, 9), randomTensor(rng.New(3, "b"), 1, 9), randomTensor(rng.New(3, "a"), 5, 7)
	o, one, two := NewAdamW(ParamGroup{Params: []*Tensor{early}}), NewAdamW(ParamGroup{Params: []*Tensor{alone}, Decay: true}), NewAdamW(ParamGroup{Params: []*Tensor{without}})
	for step := range 6 {
		if step == 3 {
			o.Add(ParamGroup{Params: []*Tensor{late}, Decay: true})
		}
		for _, p := range []*Tensor{early, late, alone, without} {
			gradient(p, step)
		}
		for i, adam := range []*AdamW{o, one, two} {
			if i == 1 && step < 3 {
				continue
			}
			if _, err := adam.Step(c); err != nil {
				t.Fatal(err)
			}
		}
	}
	fatal(t, same("the late parameter", late.Data, alone.Data))
	fatal(t, same("the early parameter", early.Data, without.Data))
}

func TestAdamWProcessors(t *testing.T) {
	old := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(old)
	var want []float32
	var norm float64
	for _, procs := range []int{1, 2, 3} {
		runtime.GOMAXPROCS(procs)
		p := randomTensor(rng.New(2, "p"), 300, 257)
		p.Grad = randomTensor(rng.New(2, "g"), 300, 257).Data
		n, err := NewAdamW(ParamGroup{Params: []*Tensor{p}}).Step(AdamConfig{LR: 0.1, Beta1: 0.9, Beta2: 0.99, Eps: 1e-8, Clip: 1})
		fatal(t, err)
		if want == nil {
			want, norm = p.Data, n
		}
		if n != norm {
			t.Errorf("norm %v on %d processors, %v on one", n, procs, norm)
		}
		fatal(t, same("parameter", p.Data, want))
	}
}

func TestSchedule(t *testing.T) {
	for _, c := range []struct {
		s    Schedule
		step int
		want float64
	}{
		{Schedule{Kind: "constant", LR: 2}, 0, 2},
		{Schedule{Kind: "constant", LR: 2, Warmup: 4}, 0, 0.5},
		{Schedule{Kind: "constant", LR: 2, Warmup: 4}, 3, 2},
		{Schedule{Kind: "constant", LR: 2, Warmup: 4}, 1000, 2},
		{Schedule{Kind: "cosine", LR: 2, MinLR: 1, Warmup: 2, Total: 12}, 2, 2},
		{Schedule{Kind: "cosine", LR: 2, MinLR: 1, Warmup: 2, Total: 12}, 7, 1.5},
		{Schedule{Kind: "cosine", LR: 2, MinLR: 1, Warmup: 2, Total: 12}, 4, 1 + (1+math.Cos(math.Pi*0.2))/2},
		{Schedule{Kind: "cosine", LR: 2, MinLR: 1, Warmup: 2, Total: 12}, 50, 1},
		{Schedule{Kind: "linear", LR: 2, Warmup: 2, Total: 12}, 7, 1},
		{Schedule{Kind: "linear", LR: 2, MinLR: 1, Total: 10}, 9, 1.1},
		{Schedule{Kind: "wsd", LR: 2, Warmup: 2, Total: 12, Decay: 4}, 1, 2},
		{Schedule{Kind: "wsd", LR: 2, Warmup: 2, Total: 12, Decay: 4}, 8, 2},
		{Schedule{Kind: "wsd", LR: 2, Warmup: 2, Total: 12, Decay: 4}, 10, 1},
		{Schedule{Kind: "wsd", LR: 2, Warmup: 2, Total: 12, Decay: 4}, 12, 0},
	} {
		if err := c.s.Check(); err != nil {
			t.Errorf("%+v: %v", c.s, err)
		}
		if got := c.s.At(c.step); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%+v at %d: %g, want %g", c.s, c.step, got, c.want)
		}
	}
	for _, bad := range []Schedule{{Kind: "step"}, {Kind: "cosine", LR: 1, MinLR: 2, Total: 5}, {Kind: "linear", LR: 1, Warmup: 6, Total: 5},
		{Kind: "wsd", LR: 1, Warmup: 3, Total: 5, Decay: 3}, {Kind: "constant", LR: math.NaN()}} {
		if bad.Check() == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
}
