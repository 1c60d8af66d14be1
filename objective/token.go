// Package objective holds the losses of the field as closed forms on flat slices: each implements engine.Objective, reads log-probs,
// entropies and channels, and adds its derivative. Advantage estimators map rewards to channel values.
//
// In the formulas w_t is the row's token weight times its scale (coefficient / denominator), lp_t the log-prob of token t.
package objective

import (
	"fmt"
	"math"

	"github.com/hone-lm/hone/engine"
)

// CrossEntropy is supervised fine-tuning: loss = -sum w_t lp_t.
type CrossEntropy struct{}

func (CrossEntropy) Name() string        { return "cross_entropy" }
func (CrossEntropy) Scope() engine.Scope { return engine.ScopeToken }
func (CrossEntropy) Needs() engine.Want  { return engine.Want{} }

func (CrossEntropy) Eval(views []engine.View, tally *engine.Tally) float64 {
	loss := 0.0
	for i := range views {
		v := &views[i]
		for t := v.From; t < v.To; t++ {
			if w := v.Row.WeightAt(t) * v.Row.Scale; w != 0 {
				loss -= w * float64(v.LogProb[t-v.From])
				v.DLogProb[t-v.From] -= w
			}
		}
	}
	return loss
}

// ClipRange bounds the ratio exp(lp - lp_old) to [1-Low, 1+High] where that makes the objective smaller (Schulman et al. 2017, equation 7;
// DAPO's asymmetric form, Yu et al. 2025, equation 10). Dual > 1 bounds the loss of negative advantages at Dual*|A| (Ye et al. 2020); 0 = off.
type ClipRange struct {
	Low  float64 `yaml:"low"`
	High float64 `yaml:"high"`
	Dual float64 `yaml:"dual"`
}

// Clipped is the clipped policy gradient with token ratios:
//
//	loss = -sum w_t min(r_t A_t, clip(r_t, 1-Low, 1+High) A_t),   r_t = exp(lp_t - logp_old_t)
//
// It reads the channels logp_old and advantage, and tallies ratio, clip_fraction and approx_kl (k3 of old against new).
type Clipped struct{ Range ClipRange }

func (Clipped) Name() string        { return "clipped" }
func (Clipped) Scope() engine.Scope { return engine.ScopeToken }
func (Clipped) Needs() engine.Want  { return engine.Want{} }

func (c Clipped) Eval(views []engine.View, tally *engine.Tally) float64 {
	loss := 0.0
	for i := range views {
		v := &views[i]
		old, adv := channel(v, engine.ChanOld), channel(v, engine.ChanAdvantage)
		for t := v.From; t < v.To; t++ {
			if !v.Row.Mask[t] {
				continue
			}
			weight := v.Row.WeightAt(t)
			logRatio := float64(v.LogProb[t-v.From]) - float64(old[t])
			l, d, ratio, clipped := c.token(logRatio, float64(adv[t]))
			loss += weight * v.Row.Scale * l
			v.DLogProb[t-v.From] += weight * v.Row.Scale * d
			tally.Add("ratio", ratio, weight)
			tally.Add("clip_fraction", clipped, weight)
			tally.Add("approx_kl", math.Expm1(-logRatio)+logRatio, weight)
		}
	}
	return loss
}

// token returns the loss of one token, its derivative by the log-prob, the ratio and 1 if the clip took effect.
func (c Clipped) token(logRatio, advantage float64) (loss, deriv, ratio, clipped float64) {
	ratio = math.Exp(logRatio)
	loss, deriv = -ratio*advantage, -ratio*advantage
	bound := math.Min(math.Max(ratio, 1-c.Range.Low), 1+c.Range.High)
	if -bound*advantage > loss {
		loss, deriv, clipped = -bound*advantage, 0, 1
	}
	if c.Range.Dual > 1 && advantage < 0 && loss > -c.Range.Dual*advantage {
		loss, deriv, clipped = -c.Range.Dual*advantage, 0, 1
	}
	return loss, deriv, ratio, clipped
}

// PolicyGradient is REINFORCE with the advantages given: loss = -sum w_t A_t lp_t (Williams 1992).
type PolicyGradient struct{}

func (PolicyGradient) Name() string        { return "policy_gradient" }
func (PolicyGradient) Scope() engine.Scope { return engine.ScopeToken }
func (PolicyGradient) Needs() engine.Want  { return engine.Want{} }

func (PolicyGradient) Eval(views []engine.View, tally *engine.Tally) float64 {
	loss := 0.0
	for i := range views {
		v := &views[i]
		adv := channel(v, engine.ChanAdvantage)
		for t := v.From; t < v.To; t++ {
			if w := v.Row.WeightAt(t) * v.Row.Scale * float64(adv[t]); w != 0 {
				loss -= w * float64(v.LogProb[t-v.From])
				v.DLogProb[t-v.From] -= w
			}
		}
	}
	return loss
}

// KLEstimator names an estimator of KL(policy || reference) from samples of the policy (Schulman 2020, "Approximating KL divergence").
type KLEstimator string

const (
	K1 KLEstimator = "k1" // lp - ref
	K2 KLEstimator = "k2" // (lp - ref)^2 / 2
	K3 KLEstimator = "k3" // exp(ref - lp) - (ref - lp) - 1
)

// KLEstimators lists every estimator, for help and validation.
var KLEstimators = []KLEstimator{K1, K2, K3}

// Value returns the estimate and its derivative by lp. Configurations are checked against KLEstimators where they are read.
func (e KLEstimator) Value(logProb, ref float64) (kl, deriv float64) {
	d := logProb - ref
	switch e {
	case K1:
		return d, 1
	case K2:
		return d * d / 2, d
	default:
		return math.Expm1(-d) + d, -math.Expm1(-d)
	}
}

// KL is a penalty in the loss: loss = sum w_t kl_t against the channel Ref (logp_ref when empty).
type KL struct {
	Estimator KLEstimator
	Ref       string
}

func (k KL) Name() string      { return "kl_" + string(k.Estimator) }
func (KL) Scope() engine.Scope { return engine.ScopeToken }
func (KL) Needs() engine.Want  { return engine.Want{} }

func (k KL) Eval(views []engine.View, tally *engine.Tally) float64 {
	loss := 0.0
	for i := range views {
		v := &views[i]
		ref := channel(v, k.ref())
		for t := v.From; t < v.To; t++ {
			if !v.Row.Mask[t] {
				continue
			}
			kl, d := k.Estimator.Value(float64(v.LogProb[t-v.From]), float64(ref[t]))
			w := v.Row.WeightAt(t)
			loss += w * v.Row.Scale * kl
			v.DLogProb[t-v.From] += w * v.Row.Scale * d
			tally.Add("kl", kl, w)
		}
	}
	return loss
}

// EntropyBonus rewards the entropy of the next-token distribution: loss = -sum w_t H_t.
type EntropyBonus struct{}

func (EntropyBonus) Name() string        { return "entropy_bonus" }
func (EntropyBonus) Scope() engine.Scope { return engine.ScopeToken }
func (EntropyBonus) Needs() engine.Want  { return engine.Want{Entropy: true} }

func (EntropyBonus) Eval(views []engine.View, tally *engine.Tally) float64 {
	loss := 0.0
	for i := range views {
		v := &views[i]
		for t := v.From; t < v.To; t++ {
			if w := v.Row.WeightAt(t) * v.Row.Scale; w != 0 {
				loss -= w * float64(v.Entropy[t-v.From])
				v.DEntropy[t-v.From] -= w
			}
		}
	}
	return loss
}

// channel returns a channel that an objective cannot do without. Engines check Channels before any arithmetic, so a missing one
// here is a programming error.
func channel(v *engine.View, name string) []float32 {
	c := v.Row.Seq.Channel(name)
	if len(c) != len(v.Row.Seq.Tokens) {
		panic(fmt.Sprintf("objective: sequence %v has no channel %q for each of its %d tokens: fill it before Backward", v.Row.Seq.ID, name, len(v.Row.Seq.Tokens)))
	}
	return c
}

// Channels names what each objective reads, so that an engine can refuse a batch before any arithmetic.
func (Clipped) Channels() []string        { return []string{engine.ChanOld, engine.ChanAdvantage} }
func (PolicyGradient) Channels() []string { return []string{engine.ChanAdvantage} }
func (k KL) Channels() []string           { return []string{k.ref()} }

func (k KL) ref() string {
	if k.Ref == "" {
		return engine.ChanRef
	}
	return k.Ref
}
