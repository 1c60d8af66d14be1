package tensor

import (
	"fmt"
	"math"
)

// Schedule gives the learning rate of every update. Warm-up rises linearly over Warmup updates: LR (s+1) / Warmup; afterwards the kind decides.
type Schedule struct {
	Kind   string  // "constant", "linear", "cosine" or "wsd" (warm-up, stable, decay)
	LR     float64 // highest learning rate
	MinLR  float64 // learning rate at Total
	Warmup int     // updates
	Total  int     // updates
	Decay  int     // wsd: how many of the last updates fall
}

// Check returns an error for a schedule that At cannot follow.
func (s Schedule) Check() error {
	switch s.Kind {
	case "constant", "linear", "cosine", "wsd":
	default:
		return fmt.Errorf("schedule %q: want constant, linear, cosine or wsd", s.Kind)
	}
	switch {
	case !(s.LR >= 0) || !(s.MinLR >= 0) || s.MinLR > s.LR:
		return fmt.Errorf("schedule %s: learning rate %g down to %g: want 0 <= min_lr <= lr", s.Kind, s.LR, s.MinLR)
	case s.Warmup < 0 || (s.Kind != "constant" && s.Warmup > s.Total):
		return fmt.Errorf("schedule %s: %d warm-up updates of %d", s.Kind, s.Warmup, s.Total)
	case s.Kind == "wsd" && (s.Decay < 0 || s.Decay > s.Total-s.Warmup):
		return fmt.Errorf("schedule wsd: %d updates of decay after %d of warm-up, of %d", s.Decay, s.Warmup, s.Total)
	}
	return nil
}

// At returns the learning rate of update s = 0, 1, ... Beyond Total it stays at MinLR (constant: LR).
func (s Schedule) At(step int) float64 {
	if step < s.Warmup {
		return s.LR * float64(step+1) / float64(s.Warmup)
	}
	span := s.LR - s.MinLR
	switch s.Kind {
	case "linear":
		return s.MinLR + span*(1-part(step-s.Warmup, s.Total-s.Warmup))
	case "cosine":
		return s.MinLR + span*(1+math.Cos(math.Pi*part(step-s.Warmup, s.Total-s.Warmup)))/2
	case "wsd":
		return s.MinLR + span*(1-part(step-(s.Total-s.Decay), s.Decay))
	}
	return s.LR
}

// part returns n / of, kept within [0, 1].
func part(n, of int) float64 {
	if n >= of {
		return 1
	}
	return max(0, float64(n)/float64(of))
}
