package objective

import (
	"math"
	"slices"
	"testing"
)

func close2(a, b [][]float64) bool {
	return slices.EqualFunc(a, b, func(a, b []float64) bool {
		return slices.EqualFunc(a, b, func(a, b float64) bool { return math.Abs(a-b) <= 1e-9*(1+math.Abs(b)) })
	})
}

// Lambda 1 gives the discounted return minus the value, lambda 0 the temporal difference; the value after the last token bootstraps a
// sequence that was cut off.
func TestGAE(t *testing.T) {
	rewards, values := []float64{0, 1, 0, 2}, []float64{0.5, -1, 2, 1}
	const gamma, last = 0.9, 4.0
	mc, _, err := GAE(rewards, values, last, nil, gamma, 1)
	if err != nil {
		t.Fatal(err)
	}
	td, returns, _ := GAE(rewards, values, last, nil, gamma, 0)
	ret := last
	for k := 3; k >= 0; k-- {
		ret = rewards[k] + gamma*ret
		next := last
		if k < 3 {
			next = values[k+1]
		}
		if !near(mc[k], ret-values[k]) || !near(td[k], rewards[k]+gamma*next-values[k]) || !near(returns[k], td[k]+values[k]) {
			t.Errorf("token %d: lambda 1 %g, want %g; lambda 0 %g, return %g", k, mc[k], ret-values[k], td[k], returns[k])
		}
	}
	// Between: sum of (gamma lambda)^k delta.
	mid, _, _ := GAE(rewards, values, last, nil, gamma, 0.5)
	if want := td[0] + 0.45*td[1] + 0.45*0.45*td[2] + 0.45*0.45*0.45*td[3]; !near(mid[0], want) {
		t.Errorf("lambda 0.5: %g, want %g", mid[0], want)
	}
	if _, _, err := GAE(rewards, values[:3], 0, nil, 1, 1); err == nil {
		t.Error("fewer values than rewards: no error")
	}
}

// Tool output in the middle is no step: the sampled tokens get what they would get without it.
func TestGAEMask(t *testing.T) {
	short, ret, _ := GAE([]float64{1, 2, 3}, []float64{0.1, 0.2, 0.3}, 0.7, nil, 0.9, 0.8)
	long, longRet, err := GAE([]float64{1, 99, 99, 2, 3}, []float64{0.1, 50, 50, 0.2, 0.3}, 0.7, []bool{true, false, false, true, true}, 0.9, 0.8)
	if err != nil || !close2([][]float64{short, ret}, [][]float64{{long[0], long[3], long[4]}, {longRet[0], longRet[3], longRet[4]}}) {
		t.Errorf("advantages %v and %v, returns %v and %v, %v", short, long, ret, longRet, err)
	}
	if d := Discounted([]float64{1, 9, 2, 4}, []bool{true, false, true, true}, 0.5); !slices.Equal(d, []float64{3, 0, 4, 4}) {
		t.Errorf("discounted returns %v", d)
	}
}

func TestWhiten(t *testing.T) {
	x, mask := [][]float64{{1, 2, 100}, {6}}, [][]bool{{true, true, false}, {true}}
	if err := Whiten(x, mask); err != nil {
		t.Fatal(err)
	}
	s := math.Sqrt(7 + 1e-8) // of 1, 2, 6 with divisor 2
	if want := [][]float64{{-2 / s, -1 / s, 97 / s}, {3 / s}}; !close2(x, want) {
		t.Errorf("%v, want %v", x, want)
	}
	equal := [][]float64{{0.25, 0.25}}
	if err := Whiten(equal, [][]bool{{true, true}}); err != nil || equal[0][0] != 0 {
		t.Errorf("equal values: %v, %v", equal, err)
	}
	if err := Whiten([][]float64{{1, 2}}, [][]bool{{true, false}}); err == nil {
		t.Error("one token: no error")
	}
}

// Three rows answer problem a, one b; scores 3, 0, 0 and 2.
func TestEstimators(t *testing.T) {
	batch := func() *TokenRewards {
		return &TokenRewards{
			Rewards:  [][]float64{{0, 3}, {0}, {0, 0, 0}, {0, 2}},
			Mask:     [][]bool{{true, true}, {true}, {true, false, true}, {false, true}},
			Group:    []string{"a", "a", "a", "b"},
			Baseline: []float64{1, 1, 1, 0.5},
		}
	}
	s, s1 := math.Sqrt(3)+1e-6, 1+1e-6
	scores := func(a, b, c, d float64) [][]float64 { return [][]float64{{a, a}, {b}, {c, 0, c}, {0, d}} }
	for _, c := range []struct {
		e                   Estimator
		p                   EstimatorParams
		advantages, returns [][]float64
	}{
		{EstGRPO, EstimatorParams{Eps: 1e-6}, scores(2/s, -1/s, -1/s, 2/s1), nil},
		{EstDrGRPO, EstimatorParams{}, scores(2, -1, -1, 2), nil},
		{EstRLOO, EstimatorParams{}, scores(3, -1.5, -1.5, 2), nil},
		{EstOPO, EstimatorParams{}, scores(3-6./5, -6./5, -6./5, 2), nil}, // lengths 2, 1, 2
		{EstGPG, EstimatorParams{}, scores(4, -2, -2, 4), nil},            // two of four rows have a score
		{EstReMax, EstimatorParams{}, [][]float64{{2, 2}, {-1}, {-1, 0, -1}, {2, 1.5}}, [][]float64{{3, 3}, {0}, {0, 0, 0}, {2, 2}}},
	} {
		adv, ret, err := c.e.Advantages(batch(), c.p)
		if c.returns == nil {
			c.returns = c.advantages
		}
		if err != nil || !close2(adv, c.advantages) || !close2(ret, c.returns) {
			t.Errorf("%s: %v, %v, %v; want %v, %v", c.e, adv, ret, err, c.advantages, c.returns)
		}
	}
	passK := batch()
	passK.Group[3], passK.Rewards[3][1] = "a", 5
	if adv, _, err := EstPassK.Advantages(passK, EstimatorParams{NoStd: true}); err != nil || !close2(adv, scores(0, 0, 0, 2)) {
		t.Errorf("pass@k without deviation: %v, %v", adv, err)
	}
	dev := math.Sqrt((9 + 25 - 64./4) / 3)
	if adv, _, err := EstPassK.Advantages(passK, EstimatorParams{Eps: 0.5}); err != nil || !close2(adv, scores(0, 0, 0, 2/(dev+0.5))) {
		t.Errorf("pass@k: %v, %v", adv, err)
	}
}

// Whitened estimators: mean 0 and variance 1 over the mask, 0 outside, and the order of the unwhitened advantages.
func TestWhitenedEstimators(t *testing.T) {
	for _, e := range []Estimator{EstReinforcePP, EstReinforcePPGroups} {
		b := &TokenRewards{Rewards: [][]float64{{0, 0, 1}, {0.5, 0, 9}, {0, 0.25, 0}}, Mask: [][]bool{{true, true, true}, {true, true, false}, {true, true, true}}, Group: []string{"a", "a", "b"}}
		adv, ret, err := e.Advantages(b, EstimatorParams{Gamma: 0.9})
		if err != nil {
			t.Fatal(err)
		}
		sum, square, n := 0.0, 0.0, 0.0
		for i := range adv {
			for k, a := range adv[i] {
				if !b.Mask[i][k] && a != 0 {
					t.Errorf("%s: advantage %g outside the mask", e, a)
				}
				if b.Mask[i][k] {
					sum, square, n = sum+a, square+a*a, n+1
				}
			}
		}
		if math.Abs(sum) > 1e-9 || math.Abs(square/(n-1)-1) > 1e-6 {
			t.Errorf("%s: mean %g, variance %g", e, sum/n, square/(n-1))
		}
		if e == EstReinforcePP && !close2(ret, [][]float64{{0.81, 0.9, 1}, {0.5, 0, 0}, {0.225, 0.25, 0}}) {
			t.Errorf("%s: returns %v", e, ret)
		}
	}
	b := &TokenRewards{Rewards: [][]float64{{0, 1}, {1}}, Mask: [][]bool{{true, true}, {true}}, Values: [][]float64{{0.5, 0.25}, {0}}}
	adv, ret, err := EstGAE.Advantages(b, EstimatorParams{Gamma: 1, Lambda: 1})
	want := [][]float64{{0.5, 0.75}, {1}}
	if err := Whiten(want, b.Mask); err != nil {
		t.Fatal(err)
	}
	if err != nil || !close2(adv, want) || !close2(ret, [][]float64{{1, 1}, {1}}) {
		t.Errorf("gae: %v, %v, %v; want %v", adv, ret, err, want)
	}
}

func TestEstimatorErrors(t *testing.T) {
	rows, mask := [][]float64{{1}, {0}}, [][]bool{{true}, {true}}
	for name, c := range map[string]struct {
		e Estimator
		b TokenRewards
	}{
		"no groups":         {EstGRPO, TokenRewards{Rewards: rows, Mask: mask}},
		"no values":         {EstGAE, TokenRewards{Rewards: rows, Mask: mask}},
		"values too short":  {EstGAE, TokenRewards{Rewards: rows, Mask: mask, Values: [][]float64{{1}, {}}}},
		"no baselines":      {EstReMax, TokenRewards{Rewards: rows, Mask: mask}},
		"a mask too few":    {EstReMax, TokenRewards{Rewards: rows, Mask: mask[:1], Baseline: []float64{0, 0}}},
		"a mask too long":   {EstReMax, TokenRewards{Rewards: rows, Mask: [][]bool{{true}, {true, true}}, Baseline: []float64{0, 0}}},
		"a group of one":    {EstPassK, TokenRewards{Rewards: rows, Mask: mask, Group: []string{"a", "b"}}},
		"one token":         {EstReinforcePP, TokenRewards{Rewards: rows[:1], Mask: mask[:1]}},
		"unknown estimator": {"sarsa", TokenRewards{Rewards: rows, Mask: mask}},
	} {
		if _, _, err := c.e.Advantages(&c.b, EstimatorParams{}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestShapeKL(t *testing.T) {
	r := []float64{0, 0, 1}
	if err := ShapeKL(r, []float32{-1, -1, -1}, []float32{-1.5, -1.5, -0.5}, []bool{false, true, true}, K1, 0.5); err != nil || !slices.Equal(r, []float64{0, -0.25, 1.25}) {
		t.Errorf("%v, %v", r, err)
	}
	if err := ShapeKL(r, nil, nil, nil, K1, 1); err == nil {
		t.Error("no log-probs: no error")
	}
}

// Without whitening the estimators give what they whiten: the differences to the value, discounted returns, differences to the group's mean.
func TestUnwhitened(t *testing.T) {
	b := &TokenRewards{Rewards: [][]float64{{0, 1}, {0, 0.5}}, Mask: [][]bool{{true, true}, {true, true}}, Group: []string{"a", "a"}, Values: [][]float64{{0.25, 0.5}, {0, 0}}}
	for e, want := range map[Estimator][][]float64{
		EstGAE:               {{0.75, 0.5}, {0.5, 0.5}},
		EstReinforcePP:       {{1, 1}, {0.5, 0.5}},
		EstReinforcePPGroups: {{0.25, 0.25}, {-0.25, -0.25}},
	} {
		adv, _, err := e.Advantages(b, EstimatorParams{Gamma: 1, Lambda: 1, NoWhiten: true})
		if err != nil || !close2(adv, want) || !e.Whitens() {
			t.Errorf("%s: %v, %v; want %v", e, adv, err, want)
		}
		if adv, _, _ := e.Advantages(b, EstimatorParams{Gamma: 1, Lambda: 1}); close2(adv, want) {
			t.Errorf("%s: the switch does nothing", e)
		}
	}
	if EstGRPO.Whitens() || EstRLOO.Whitens() {
		t.Error("estimators of groups do not whiten")
	}
}
