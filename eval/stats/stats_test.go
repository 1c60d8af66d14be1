package stats

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/hone-lm/hone/internal/rng"
)

func near(t *testing.T, what string, got, want, tol float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tol) {
		t.Errorf("%s: got %.6f, want %.6f", what, got, want)
	}
}

// Newcombe 1998, Statistics in Medicine 17, 857-872, table I, method 3.
func TestWilson(t *testing.T) {
	for _, c := range []struct {
		k, n      int
		low, high float64
	}{{81, 263, 0.2553, 0.3662}, {15, 148, 0.0624, 0.1605}, {0, 20, 0, 0.1611}, {1, 29, 0.0061, 0.1718}, {29, 29, 0.8830, 1}, {0, 500, 0, 0.0076}} {
		got := Wilson(c.k, c.n)
		near(t, "low", got.Low, c.low, 5e-5)
		near(t, "high", got.High, c.high, 5e-5)
		near(t, "mean", got.Mean, float64(c.k)/float64(c.n), 1e-15)
	}
	for _, bad := range []Interval{Wilson(0, 0), Wilson(3, 2), Wilson(-1, 2)} {
		if !math.IsNaN(bad.Mean) || bad.N != 0 {
			t.Errorf("impossible counts gave %+v", bad)
		}
	}
}

// Newcombe 1998, Statistics in Medicine 17, 2635-2650, table II, method 10.
func TestNewcombe(t *testing.T) {
	got := newcombe(36, 12, 2, 0)
	near(t, "low", got.Low, 0.0569, 5e-5)
	near(t, "high", got.High, 0.3404, 5e-5)
}

// The interval has to hold the true difference about 95 times in 100, here for answers that agree more often than chance.
func TestNewcombeCoverage(t *testing.T) {
	const trials, n, lost, gained = 2000, 100, 0.03, 0.10
	held := 0
	for trial := range trials {
		before, after := make([]bool, n), make([]bool, n)
		for i := range n {
			u := rng.New(5, "coverage", uint64(trial)).Float64(uint64(i))
			before[i] = u < 0.3
			after[i] = u < 0.3-lost || u > 1-gained
		}
		c, _ := PairedProportions(before, after)
		if c.Low <= gained-lost && gained-lost <= c.High {
			held++
		}
	}
	if share := float64(held) / trials; share < 0.935 || share > 0.985 {
		t.Errorf("a 95 %% interval held the truth in %.1f %% of trials", 100*share)
	}
}

func TestPairedProportions(t *testing.T) {
	before := make([]bool, 50)
	after := make([]bool, 50)
	for i := range before { // 36 right both times, 12 gained, 2 lost
		before[i], after[i] = i < 38, i < 36 || i >= 38
	}
	c, err := PairedProportions(before, after)
	if err != nil || c.Gained != 12 || c.Lost != 2 || c.N != 50 {
		t.Fatalf("%+v, %v", c, err)
	}
	near(t, "difference", c.Mean, 0.2, 1e-12)
	near(t, "p", c.P, 0.012939453125, 1e-12) // 2 (1 + 14 + 91) / 2^14
	if _, err := PairedProportions(before, after[1:]); err == nil {
		t.Error("different lengths were accepted")
	}
	if c, _ := PairedProportions(nil, nil); !math.IsNaN(c.Mean) || c.P != 1 {
		t.Errorf("no problems: %+v", c)
	}
}

func TestMcNemar(t *testing.T) {
	for _, c := range []struct {
		b, c int
		p    float64
	}{{0, 0, 1}, {5, 5, 1}, {0, 10, 2.0 / 1024}, {10, 0, 2.0 / 1024}, {1, 5, 14.0 / 64}} {
		near(t, "p", McNemar(c.b, c.c), c.p, 1e-12)
	}
}

// Student's sleep data (1908), as in R: t.test(extra ~ group, paired = TRUE) gives 1.58 [0.7001, 2.4599].
func TestPairedT(t *testing.T) {
	one := []float64{0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0}
	two := []float64{1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4}
	got, err := PairedT(one, two)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "mean", got.Mean, 1.58, 1e-12)
	near(t, "low", got.Low, 0.7001142, 1e-6)
	near(t, "high", got.High, 2.4598858, 1e-6)
	if _, err := PairedT(one, two[1:]); err == nil {
		t.Error("different lengths were accepted")
	}
	if one := TInterval([]float64{3}); one.Low != 3 || one.High != 3 {
		t.Errorf("one value: %+v", one)
	}
	b, err := PairedBootstrap(one, two, 4000, rng.New(1, "test"))
	if err != nil || math.Abs(b.Low-0.7) > 0.35 || math.Abs(b.High-2.46) > 0.35 {
		t.Errorf("bootstrap %+v, %v", b, err)
	}
}

func TestBootstrap(t *testing.T) {
	x := make([]float64, 400)
	for i := range x {
		x[i] = rng.New(3, "x").Normal(uint64(i))
	}
	a, b := Bootstrap(x, Mean, 2000, rng.New(1, "boot")), Bootstrap(x, Mean, 2000, rng.New(1, "boot"))
	if a != b {
		t.Errorf("same key, different intervals: %+v, %+v", a, b)
	}
	if c := Bootstrap(x, Mean, 2000, rng.New(2, "boot")); c == a {
		t.Error("another key gave the same interval")
	}
	want := TInterval(x)
	near(t, "low", a.Low, want.Low, 0.02)
	near(t, "high", a.High, want.High, 0.02)
	near(t, "mean", a.Mean, want.Mean, 0)
}

func TestPassAtK(t *testing.T) {
	for _, c := range []struct {
		n, c, k int
		want    float64
	}{{8, 0, 8, 0}, {8, 8, 1, 1}, {8, 2, 1, 0.25}, {5, 2, 2, 0.7}, {10, 3, 8, 1}, {10, 1, 5, 0.5}} {
		near(t, "pass@k", PassAtK(c.n, c.c, c.k), c.want, 1e-12)
	}
	if !math.IsNaN(PassAtK(4, 1, 5)) || !math.IsNaN(PassAtK(4, 5, 1)) {
		t.Error("impossible counts were accepted")
	}
	m, err := MeanPassAtK([]int{8, 8}, []int{2, 4}, 1)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "mean", m.Mean, 0.375, 1e-12)
	if _, err := MeanPassAtK([]int{8, 2}, []int{2, 1}, 4); err == nil {
		t.Error("a problem with too few samples was accepted")
	}
}

func TestProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 200).Draw(t, "n")
		c := rapid.IntRange(0, n).Draw(t, "c")
		k := rapid.IntRange(1, n).Draw(t, "k")
		if p := PassAtK(n, c, k); p < 0 || p > 1 || (k < n && p > PassAtK(n, c, k+1)+1e-12) {
			t.Fatalf("pass@%d of %d/%d is %g", k, c, n, p)
		}
		w := Wilson(c, n)
		if w.Low < 0 || w.High > 1 || w.Low > w.Mean || w.High < w.Mean {
			t.Fatalf("Wilson %d/%d: %+v", c, n, w)
		}
		a, b := rapid.SliceOfN(rapid.Bool(), n, n).Draw(t, "a"), rapid.SliceOfN(rapid.Bool(), n, n).Draw(t, "b")
		there, _ := PairedProportions(a, b)
		back, _ := PairedProportions(b, a)
		if there.Low > there.Mean || there.High < there.Mean || math.Abs(there.Low+back.High) > 1e-12 || there.P != back.P {
			t.Fatalf("not symmetric: %+v, %+v", there, back)
		}
	})
}
