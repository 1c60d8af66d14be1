package trainers

import (
	"encoding/json"
	"errors"
	"math"
	"testing"
)

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-12*(1+math.Abs(b)) }

// Rows of 2, 1 and 0 tokens on policy with advantages 1, -2, 5: token losses -1, -1, 2. TRL's means over rows count the empty one, verl's
// do not.
func TestAggregation(t *testing.T) {
	mask := Mask{{true, true, false}, {false, true, false}, {false, false, false}}
	lp := Matrix{{-1, -1, -1}, {-1, -1, -1}, {-1, -1, -1}}
	in := GRPOInputs{LogProb: lp, Advantages: RowAdvantages{Row: List{1, -2, 5}}, Mask: mask}
	for _, c := range []struct {
		loss, level string
		want        float64
	}{
		{"grpo", "token", (-1. + 2) / 3}, {"grpo", "sequence", (-1. + 2) / 3},
		{"bnpo", "token", 0}, {"dr_grpo", "token", 0}, {"dapo", "token", 0},
		{"sapo", "token", (-2. + 4) / 3}, // 4/1 sigmoid(0) = 2
		{"cispo", "token", 0},            // -A lp: 1 + 1 - 2
		{"vespo", "token", 0},
		{"luspo", "sequence", (-2. + 2) / 3},
		{"luspo", "token", (2*(-1.-1-1) + 1*(2+2+2)) / 9}, // length times the mean over all tokens, padding included
	} {
		config := DefaultGRPO()
		config.LossType, config.Level, config.MaxLength, config.Items, config.TauNeg = c.loss, c.level, 3, 3, 1
		loss, grad, err := GRPO(config, in)
		if err != nil || !near(loss, c.want) || len(grad) != 3 || len(grad[2]) != 3 {
			t.Errorf("%s, %s: loss %g, gradient %v, %v; want %g", c.loss, c.level, loss, grad, err, c.want)
		}
	}
	for _, c := range []struct {
		mode string
		want float64
		grad [2]float64 // of the first row's and the second row's token
	}{
		{"token-mean", 0, [2]float64{-1. / 3, 2. / 3}},
		{"token-sum", 0, [2]float64{-1, 2}},
		{"seq-mean-token-sum", 0, [2]float64{-1. / 2, 2. / 2}},
		{"seq-mean-token-sum-norm", 0, [2]float64{-1. / 6, 2. / 6}},
		{"seq-mean-token-mean", 1. / 2, [2]float64{-1. / 4, 2. / 2}},
	} {
		p := VerlPolicy{Name: "vanilla", Config: VerlConfig{Clip: 0.2}, Mode: c.mode, Old: lp, LogProb: lp, Mask: mask,
			Advantages: Matrix{{1, 1, 1}, {-2, -2, -2}, {5, 5, 5}}}
		loss, grad, err := p.Loss()
		if err != nil || !near(loss, c.want) || !near(grad[0][1], c.grad[0]) || !near(grad[1][1], c.grad[1]) || grad[0][2] != 0 || grad[2][0] != 0 {
			t.Errorf("%s: loss %g, gradient %v, %v; want %g, %v", c.mode, loss, grad, err, c.want, c.grad)
		}
		p.Name = "geo_mean" // has a mode of its own: over all rows
		if loss, grad, err := p.Loss(); err != nil || !near(loss, (-1.+2)/3) || !near(grad[0][0], -1./6) {
			t.Errorf("geo_mean, %s: loss %g, gradient %v, %v", c.mode, loss, grad, err)
		}
	}
}

// The penalty is a stream of its own: k3 with weight beta under the same mean; corrected, it has the ratio in front.
func TestPenalty(t *testing.T) {
	config := DefaultGRPO()
	config.LossType, config.Beta = "bnpo", 0.5
	in := GRPOInputs{LogProb: Matrix{{-1, -1}}, Old: &Matrix{{-2, -1}}, Ref: &Matrix{{-1.5, -1}}, Advantages: RowAdvantages{Row: List{0}}, Mask: Mask{{true, true}}}
	k3 := math.Exp(-0.5) + 0.5 - 1
	loss, grad, err := GRPO(config, in)
	if err != nil || !near(loss, 0.5*k3/2) || !near(grad[0][0], 0.5/2*(1-math.Exp(-0.5))) || grad[0][1] != 0 {
		t.Errorf("loss %g, gradient %v, %v", loss, grad, err)
	}
	config.CorrectKL = true
	loss, grad, err = GRPO(config, in)
	if err != nil || !near(loss, 0.5*math.E*k3/2) || !near(grad[0][0], 0.5/2*math.E*(1-math.Exp(-0.5)+k3)) {
		t.Errorf("corrected: loss %g, gradient %v, %v", loss, grad, err)
	}
	in.Ref = nil
	if _, _, err := GRPO(config, in); err == nil {
		t.Error("beta without reference: no error")
	}
}

func TestRefused(t *testing.T) {
	x, mask := Matrix{{-1, -1}}, Mask{{true, true}}
	grpo := func(loss, level string, a RowAdvantages) error {
		c := DefaultGRPO()
		c.LossType, c.Level, c.Items = loss, level, 1
		_, _, err := GRPO(c, GRPOInputs{LogProb: x, Advantages: a, Mask: mask})
		return err
	}
	policy := func(name, mode string, m Mask) error {
		_, _, err := VerlPolicy{Name: name, Mode: mode, Old: x, LogProb: x, Advantages: x, Mask: m}.Loss()
		return err
	}
	kl := func(name string) error { _, err := VerlKL{Name: name, LogProb: x, Ref: x}.Penalty(); return err }
	adv := func(name string) error {
		_, _, err := VerlAdvantage{Name: name, Rewards: x, Mask: mask}.Advantages()
		return err
	}
	tinker := func(loss string) error { _, _, _, err := Tinker{Loss: loss}.Eval(); return err }
	value := func(clip float64, mode string) error {
		_, _, _, err := VerlValue{Pred: x, Returns: x, Old: x, Mask: mask, Clip: clip, Mode: mode}.Loss()
		return err
	}
	one := RowAdvantages{Row: List{1}}
	for name, c := range map[string]struct {
		err         error
		unsupported string
	}{
		"a loss type":           {grpo("ppo2", "token", one), "ppo2"},
		"a ratio level":         {grpo("grpo", "turn", one), "turn"},
		"advantages too few":    {grpo("grpo", "token", RowAdvantages{Row: List{}}), ""},
		"advantages of a token": {grpo("luspo", "sequence", RowAdvantages{Token: Matrix{{1, 2}}}), "luspo with sequence ratios and a loss that differs between tokens"},
		"another shape":         {grpo("grpo", "token", RowAdvantages{Token: Matrix{{1}}}), ""},
		"a policy loss":         {policy("clip_cov", "token-mean", mask), "clip_cov"},
		"a mode":                {policy("gpg", "token-median", mask), "token-median"},
		"no token":              {policy("gpg", "token-mean", Mask{{false, false}}), ""},
		"dro without beta":      {policy("dro", "token-mean", mask), ""},
		"a penalty":             {kl("full"), "full"},
		"a penalty with plus":   {kl("full+"), "full+"},
		"an empty penalty":      {kl(""), ""},
		"an estimator":          {adv("gdpo"), "gdpo"},
		"dr_grpo":               {adv("dr_grpo"), "dr_grpo"}, // verl calls it grpo without deviation
		"no groups":             {adv("grpo"), ""},
		"a built-in loss":       {tinker("stable_reinforce"), "stable_reinforce"},
		"no shape":              {tinker("ppo"), ""},
		"no clip":               {value(0, "token-mean"), ""},
		"a mode of values":      {value(1, "token-max"), "token-max"},
	} {
		var u *UnsupportedError
		switch {
		case c.err == nil:
			t.Errorf("%s: no error", name)
		case errors.As(c.err, &u) && u.Name != c.unsupported || c.unsupported != "" && u == nil:
			t.Errorf("%s: %v, want %q unsupported", name, c.err, c.unsupported)
		}
	}
	if err := policy("gpg", "token-sum", Mask{{false, false}}); err != nil {
		t.Errorf("the sum over no token is 0: %v", err)
	}
}

func TestTinkerRefused(t *testing.T) {
	half := 0.5
	for name, d := range map[string]Tinker{
		"an unknown setting":     {Loss: "ppo", Config: map[string]*float64{"beta": &half}, Shape: []int{1}, LogProb: List{-1}, Old: List{-1}, Advantages: List{1}},
		"a setting of null":      {Loss: "dro", Config: map[string]*float64{"beta": nil}, Shape: []int{1}, LogProb: List{-1}, Old: List{-1}, Advantages: List{1}},
		"no beta":                {Loss: "dro", Shape: []int{1}, LogProb: List{-1}, Old: List{-1}, Advantages: List{1}},
		"two dimensions":         {Loss: "ppo", Shape: []int{1, 1}, LogProb: List{-1}, Old: List{-1}, Advantages: List{1}},
		"no sampler's log-probs": {Loss: "ppo", Shape: []int{1}, LogProb: List{-1}, Advantages: List{1}},
		"weights":                {Loss: "ppo", Shape: []int{1}, LogProb: List{-1}, Old: List{-1}, Advantages: List{1}, Weights: List{1}},
		"no weights":             {Loss: "cross_entropy", Shape: []int{1}, LogProb: List{-1}},
		"advantages":             {Loss: "cross_entropy", Shape: []int{1}, LogProb: List{-1}, Weights: List{1}, Advantages: List{1}},
		"too few log-probs":      {Loss: "cross_entropy", Shape: []int{2}, LogProb: List{-1}, Weights: List{1, 1}},
		"a negative shape":       {Loss: "cross_entropy", Shape: []int{-1, -1}, LogProb: List{-1}, Weights: List{1}},
	} {
		if _, _, _, err := d.Eval(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestInputs(t *testing.T) {
	var m Matrix
	var mask Mask
	var list List
	var adv RowAdvantages
	for _, bad := range []string{`[[1], [1, 2]]`, `[[1, null]]`, `[null]`, `[1]`, `"x"`} {
		if err := json.Unmarshal([]byte(bad), &m); err == nil {
			t.Errorf("matrix %s: no error", bad)
		}
	}
	for _, bad := range []string{`[[0.5]]`, `[[2]]`, `[[1, null]]`, `[[true, null]]`, `[[true], [true, false]]`} {
		if err := json.Unmarshal([]byte(bad), &mask); err == nil {
			t.Errorf("mask %s: no error", bad)
		}
	}
	for _, bad := range []string{`[null]`, `[[1]]`, `1`} {
		if err := json.Unmarshal([]byte(bad), &list); err == nil {
			t.Errorf("list %s: no error", bad)
		}
	}
	if err := json.Unmarshal([]byte(`[[1, 0.0], [false, true]]`), &mask); err == nil {
		t.Error("numbers and truth values in one mask: no error")
	}
	if err := json.Unmarshal([]byte(`[[1, 0.0]]`), &mask); err != nil || !mask[0][0] || mask[0][1] {
		t.Errorf("mask %v, %v", mask, err)
	}
	if err := json.Unmarshal([]byte(`[[true, false]]`), &mask); err != nil || !mask[0][0] || mask[0][1] {
		t.Errorf("mask %v, %v", mask, err)
	}
	if err := json.Unmarshal([]byte(`[[1, 2]]`), &adv); err != nil || adv.Token[0][1] != 2 {
		t.Errorf("advantages %v, %v", adv, err)
	}
	if err := json.Unmarshal([]byte(`["x"]`), &adv); err == nil {
		t.Error("advantages of text: no error")
	}
}
