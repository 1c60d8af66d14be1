package tensor

import (
	"fmt"
	"math"
)

// RopeScaling says how rotary frequencies are changed to reach longer contexts. Names and formulas are those of transformers (modeling_rope_utils.py).
type RopeScaling struct {
	Type   string  // "" or "default", "linear", "llama3", "yarn"
	Factor float64 // how many times longer the context becomes

	LowFreqFactor, HighFreqFactor float64 // llama3: bounds of the blend, in wavelengths to a context
	OriginalMaxPos                int     // llama3, yarn: the context of pretraining

	AttentionFactor      float64 // yarn: multiplies cos and sin; 0 = 0.1 ln(Factor) + 1, or from the two below
	MScale, MScaleAllDim float64 // yarn: as in DeepSeek; 0 = absent
	BetaFast, BetaSlow   float64 // yarn: rotations to a context that bound the blend; 0 = 32 and 1
	NoTruncate           bool    // yarn: bounds are not rounded to whole dimensions (config "truncate": false)

	Divisors []float32 // each plain frequency is divided by its entry (rope_freqs.weight in GGUF, [rot/2]); nil = none
}

// RopeTable holds cos and sin of all positions below Positions; rotate-half form: dimension i turns with dimension i + Rot/2.
type RopeTable struct {
	Rot       int       // rotary dimensions of a head (the first ones), even
	Positions int       // number of positions
	Cos, Sin  []float32 // [Positions][Rot/2]
}

// NewRope computes the table: theta is the base, rot the number of rotary dimensions of a head, maxPos the number of positions.
// Frequencies are rounded to float32 as transformers does; angles, cosines and sines are computed in float64 and rounded once.
func NewRope(theta float64, rot, maxPos int, s RopeScaling) (*RopeTable, error) {
	if rot <= 0 || rot%2 != 0 || maxPos <= 0 || theta <= 0 {
		return nil, fmt.Errorf("rope: %d rotary dimensions, %d positions, base %g: want an even positive number, at least one position and a positive base", rot, maxPos, theta)
	}
	freq, factor, err := ropeFrequencies(theta, rot, s)
	if err != nil {
		return nil, err
	}
	half := rot / 2
	r := &RopeTable{Rot: rot, Positions: maxPos, Cos: make([]float32, maxPos*half), Sin: make([]float32, maxPos*half)}
	for p := range maxPos {
		for i, f := range freq {
			sin, cos := math.Sincos(float64(p) * float64(f))
			r.Cos[p*half+i], r.Sin[p*half+i] = float32(cos*factor), float32(sin*factor)
		}
	}
	return r, nil
}

// ropeFrequencies returns the angle per position of each pair of dimensions and the factor of cos and sin.
func ropeFrequencies(theta float64, rot int, s RopeScaling) (freq []float32, factor float64, err error) {
	freq = make([]float32, rot/2)
	base := make([]float32, rot/2) // theta^(2i/rot)
	for i := range freq {
		base[i] = float32(math.Pow(theta, float64(float32(2*i)/float32(rot))))
		freq[i] = 1 / base[i]
	}
	if s.Divisors != nil {
		if len(s.Divisors) != len(freq) {
			return nil, 0, fmt.Errorf("rope: %d frequency divisors for %d rotary dimensions: want %d", len(s.Divisors), rot, len(freq))
		}
		for i, d := range s.Divisors {
			freq[i] /= d
		}
	}
	switch s.Type {
	case "", "default":
		return freq, 1, nil
	case "linear", "llama3", "yarn":
		if !(s.Factor > 0) {
			return nil, 0, fmt.Errorf("rope: scaling %q needs a positive factor, got %g", s.Type, s.Factor)
		}
	default:
		return nil, 0, fmt.Errorf("rope: unknown scaling %q: want default, linear, llama3 or yarn", s.Type)
	}
	if s.Type == "linear" {
		for i := range freq {
			freq[i] /= float32(s.Factor)
		}
		return freq, 1, nil
	}
	if s.OriginalMaxPos <= 0 {
		return nil, 0, fmt.Errorf("rope: scaling %q needs original_max_position_embeddings", s.Type)
	}
	if s.Type == "llama3" {
		return freq, 1, llama3(freq, s)
	}
	return freq, yarn(freq, base, theta, rot, s), nil
}

// llama3 divides slow frequencies by the factor, keeps fast ones and blends between (Llama 3.1).
func llama3(freq []float32, s RopeScaling) error {
	if !(s.LowFreqFactor > 0) || !(s.HighFreqFactor > s.LowFreqFactor) {
		return fmt.Errorf("rope: llama3 needs 0 < low_freq_factor < high_freq_factor, got %g and %g", s.LowFreqFactor, s.HighFreqFactor)
	}
	context := float32(s.OriginalMaxPos)
	low, high, factor := float32(s.LowFreqFactor), float32(s.HighFreqFactor), float32(s.Factor)
	for i, f := range freq {
		wave := float32(2*math.Pi) / f
		switch {
		case wave > context/low:
			freq[i] = f / factor
		case wave >= context/high:
			smooth := (context/wave - low) / (high - low)
			freq[i] = (1-smooth)*f/factor + smooth*f
		}
	}
	return nil
}

// yarn blends interpolated and plain frequencies by dimension and returns the attention factor (Peng et al. 2023, arXiv 2309.00071).
func yarn(freq, base []float32, theta float64, rot int, s RopeScaling) float64 {
	mscale := func(m float64) float64 {
		if s.Factor <= 1 {
			return 1
		}
		return 0.1*m*math.Log(s.Factor) + 1
	}
	attention := s.AttentionFactor
	if attention == 0 {
		attention = mscale(1)
		if s.MScale != 0 && s.MScaleAllDim != 0 {
			attention = mscale(s.MScale) / mscale(s.MScaleAllDim)
		}
	}
	fast, slow := s.BetaFast, s.BetaSlow
	if fast == 0 {
		fast = 32
	}
	if slow == 0 {
		slow = 1
	}
	dim := func(rotations float64) float64 {
		return float64(rot) * math.Log(float64(s.OriginalMaxPos)/(rotations*2*math.Pi)) / (2 * math.Log(theta))
	}
	low, high := dim(fast), dim(slow)
	if !s.NoTruncate {
		low, high = math.Floor(low), math.Ceil(high)
	}
	low, high = max(low, 0), min(high, float64(rot-1))
	if low == high {
		high += 0.001 // as transformers: no division by zero
	}
	for i := range freq {
		ramp := (float32(i) - float32(low)) / float32(high-low)
		plain := 1 - min(max(ramp, 0), 1)
		freq[i] = 1/(float32(s.Factor)*base[i])*(1-plain) + freq[i]*plain
	}
	return attention
}
