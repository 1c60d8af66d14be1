package tensor

import (
	"math"
	"testing"
)

func TestRopeScaling(t *testing.T) {
	const theta, rot = 10000.0, 64
	freq := func(s RopeScaling) ([]float32, float64) {
		f, factor, err := ropeFrequencies(theta, rot, s)
		if err != nil {
			t.Fatal(err)
		}
		return f, factor
	}
	plain, _ := freq(RopeScaling{})
	linear, _ := freq(RopeScaling{Type: "linear", Factor: 4})
	llama, _ := freq(RopeScaling{Type: "llama3", Factor: 8, LowFreqFactor: 1, HighFreqFactor: 4, OriginalMaxPos: 8192})
	yarn, attention := freq(RopeScaling{Type: "yarn", Factor: 4, OriginalMaxPos: 2048})
	halves := make([]float32, rot/2)
	for i := range halves {
		halves[i] = 2
	}
	divided, _ := freq(RopeScaling{Divisors: halves})
	ratio := func(f []float32, i int) float64 { return float64(f[i]) / float64(plain[i]) }
	kept, slowed := 0, 0
	for i := range plain {
		approx(t, "plain", float64(plain[i]), math.Pow(theta, -2*float64(i)/rot), 1e-6)
		approx(t, "linear", ratio(linear, i), 0.25, 1e-6)
		approx(t, "divided", ratio(divided, i), 0.5, 1e-6)

		wave := 2 * math.Pi * math.Pow(theta, 2*float64(i)/rot)
		want := 1.0
		if wave > 8192 {
			want = 1.0 / 8
			slowed++
		} else if wave > 2048 {
			s := (8192/wave - 1) / 3
			want = (1-s)/8 + s
		} else {
			kept++
		}
		approx(t, "llama3", ratio(llama, i), want, 1e-5)

		// Correction range of 32 and 1 rotations in 2048 positions: dimensions 8.06 and 20.1, rounded outwards to 8 and 21.
		ramp := min(max((float64(i)-8)/(21-8), 0), 1)
		approx(t, "yarn", ratio(yarn, i), ramp/4+1-ramp, 1e-5)
	}
	if kept == 0 || slowed == 0 {
		t.Error("the llama3 case does not reach all branches")
	}
	approx(t, "yarn attention", attention, 0.1*math.Log(4)+1, 1e-12)
	_, attention = freq(RopeScaling{Type: "yarn", Factor: 4, OriginalMaxPos: 2048, MScale: 1, MScaleAllDim: 0.5})
	approx(t, "yarn mscale", attention, (0.1*math.Log(4)+1)/(0.05*math.Log(4)+1), 1e-12)

	table, err := NewRope(theta, rot, 3000, RopeScaling{Type: "yarn", Factor: 4, OriginalMaxPos: 2048, AttentionFactor: 1.5})
	fatal(t, err)
	a := 2999 * float64(yarn[10])
	approx(t, "cos", float64(table.Cos[2999*rot/2+10]), 1.5*math.Cos(a), 1e-6)
	approx(t, "sin", float64(table.Sin[2999*rot/2+10]), 1.5*math.Sin(a), 1e-6)

	for _, bad := range []RopeScaling{{Type: "dynamic"}, {Type: "linear"}, {Type: "yarn", Factor: 2}, {Type: "llama3", Factor: 2, OriginalMaxPos: 9}, {Divisors: halves[:3]}} {
		if _, err := NewRope(theta, rot, 10, bad); err == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
	if _, err := NewRope(theta, 7, 10, RopeScaling{}); err == nil {
		t.Error("an odd number of rotary dimensions is accepted")
	}
}

func approx(t *testing.T, what string, got, want, tol float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tol*max(1, math.Abs(want))) {
		t.Errorf("%s: %g, want %g", what, got, want)
	}
}
