package recipe

import (
	"context"
	"errors"
	"math"
	"testing"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/objective"
	"github.com/hone-lm/hone/run"
)

// sasr, check 1; the limits of check 2.
func TestSASRChance(t *testing.T) {
	for _, c := range []struct{ warm, last, gamma, want float64 }{
		{2, 2, 1, 0.5}, {2, 1, 1, 0.3333}, {2, 6, 1, 0.75}, {2, 2, 2, 0.3333}, {2, 1, 1e-300, 1}, {2, 6, 1e300, 0}, {2, 0, 1, 0},
	} {
		m := &SASR{Arm: "adaptive", Gamma: c.gamma, state: sasrState{Warm: c.warm, Last: c.last}}
		if got := m.chance(0, 10); math.Abs(got-c.want) > 5e-5 {
			t.Errorf("%+v: %g", c, got)
		}
	}
}

// The controls have the share that they are given, whatever it is.
func TestSASRShares(t *testing.T) {
	const steps = 1000
	for _, arm := range []string{"fixed", "cosine", "switch"} {
		for _, share := range []float64{0, 0.25, 0.4, 0.7, 1} {
			m, sum := &SASR{Arm: arm, Share: share}, 0.0
			for i := range steps {
				p := m.chance(i, steps)
				if !(p >= 0 && p <= 1) {
					t.Fatalf("%s %g: chance %g at step %d", arm, share, p, i)
				}
				sum += p
			}
			if math.Abs(sum/steps-share) > 2e-3 {
				t.Errorf("%s %g: mean chance %g", arm, share, sum/steps)
			}
		}
	}
}

// A share that another run realised gives as many steps, whatever it rounds to.
func TestSASRRealisedShare(t *testing.T) {
	for steps := 1; steps <= 300; steps++ {
		for k := 0; k <= steps; k++ {
			for _, arm := range []string{"fixed", "switch"} {
				m, n := &SASR{Arm: arm, Share: float64(k) / float64(steps)}, 0.0
				for i := range steps {
					n += m.chance(i, steps)
				}
				if n != float64(k) {
					t.Fatalf("%s: %g SFT steps of %d, want %d", arm, n, steps, k)
				}
			}
		}
	}
}

// sasr, check 4: the norm of the gradient of -log p_k by the logits.
func TestSASRGradientNorm(t *testing.T) {
	p := []float64{0.7, 0.2, 0.1}
	seq := &engine.Sequence{Tokens: []int32{0, 0}, Kind: []engine.Kind{engine.KindPrompt, engine.KindDemo}}
	v := engine.View{Row: &engine.Row{Seq: seq, Mask: []bool{false, true}, Scale: 1}, To: 2, LogProb: []float32{0, float32(math.Log(p[0]))}, DLogProb: make([]float64, 2)}
	objective.CrossEntropy{}.Eval([]engine.View{v}, nil)
	sum := 0.0
	for j := range p {
		d := -p[j] // d log p_0 / d logit j
		if j == 0 {
			d++
		}
		sum += v.DLogProb[1] * d * v.DLogProb[1] * d
	}
	if got := math.Sqrt(sum); math.Abs(got-0.3742) > 5e-5 {
		t.Errorf("norm %g", got)
	}
}

// sasr, check 5, first half.
func TestSASRDraws(t *testing.T) {
	n := 0
	for i := range 10000 {
		if imitates(1, i, 0.3333) {
			n++
		}
	}
	if share := float64(n) / 10000; math.Abs(share-0.333) > 0.015 {
		t.Errorf("share %g", share)
	}
}

// sasrRun returns the kind of every step (1 = SFT), the norm that it began with and the norm of its gradient.
func sasrRun(t *testing.T, settings ...string) (kinds, last, norms []float64) {
	t.Helper()
	s := launch(t, "sasr", t.TempDir(), append([]string{"eval.problems=0", "warmup.steps=0", "mix.steps=12"}, settings...)...)
	if err := errors.Join(s.Exec(context.Background()), s.Run.Close()); err != nil {
		t.Fatal(err)
	}
	rows, err := s.Run.ReadMetrics(run.MetricsFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if row.Kind == run.KindTrain {
			kind, ok := row.Get("sft_step")
			if !ok {
				t.Fatal("a step does not say its kind")
			}
			l, _ := row.Get("sft_norm")
			n, _ := row.Get(run.GradNorm)
			kinds, last, norms = append(kinds, kind), append(last, l), append(norms, n)
		}
	}
	return kinds, last, norms
}

// sasr, check 3: the norm stays on GRPO steps and is that of the SFT gradient before clipping on SFT steps. The measured G_warm is what
// the first SFT step finds, when it is the first step.
func TestSASRNorm(t *testing.T) {
	if testing.Short() {
		t.Skip("trains")
	}
	kinds, last, norms := sasrRun(t, "mix.clip=0.01")
	both := map[float64]int{}
	for i, kind := range kinds[:len(kinds)-1] {
		both[kind]++
		want := last[i]
		if kind == 1 {
			want = norms[i]
			if norms[i] < 0.1 {
				t.Errorf("step %d: norm %g is not far above the clip", i, norms[i])
			}
		}
		if last[i+1] != want {
			t.Errorf("step %d of kind %g: the next begins with %g, want %g", i, kind, last[i+1], want)
		}
	}
	if both[0] < 2 || both[1] < 2 {
		t.Errorf("kinds %v show little", kinds)
	}
	kinds, last, norms = sasrRun(t, "mix.steps=4", "gamma=1e-9")
	if kinds[0] != 1 || last[0] != norms[0] {
		t.Errorf("measured %g, the first step's gradient has %g", last[0], norms[0])
	}
}

// sasr, check 5, second half: with the norm frozen another group size changes what is sampled and not the order of the steps.
func TestSASROrder(t *testing.T) {
	if testing.Short() {
		t.Skip("trains")
	}
	a, _, x := sasrRun(t, "smooth=1")
	b, _, y := sasrRun(t, "smooth=1", "grpo.group_size=6")
	moved := false
	for i := range a {
		if a[i] != b[i] {
			t.Errorf("step %d: kind %g and %g", i, a[i], b[i])
		}
		moved = moved || x[i] != y[i]
	}
	if !moved {
		t.Error("the group size changed nothing at all")
	}
}

// A norm that no SFT step has renewed is measured again.
func TestSASRRefresh(t *testing.T) {
	if testing.Short() {
		t.Skip("trains")
	}
	kinds, last, _ := sasrRun(t, "gamma=1e9", "refresh=4", "mix.lr=1e-2")
	for i := 1; i < len(last); i++ {
		if kinds[i] != 0 || (last[i] != last[i-1]) != (i%4 == 0) {
			t.Errorf("step %d: kind %g, norms %v", i, kinds[i], last)
		}
	}
}

func TestSASRSettings(t *testing.T) {
	for _, bad := range []string{"gamma=0", "smooth=2", "share=-1", "refresh=-1", "arm=none"} {
		if _, _, err := Parse("sasr", "", nil, []string{bad}); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
	checkClaim(t, "sasr")
}
