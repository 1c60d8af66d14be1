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
		lp := logProbs(v)
		for t := v.From; t < v.To; t++ {
			if w := weightAt(v, t) * v.Row.Scale; w != 0 {
				loss -= w * lp.at(t)
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
		lp, old, adv := logProbs(v), constants(v, engine.ChanOld), constants(v, engine.ChanAdvantage)
		for t := v.From; t < v.To; t++ {
			if !v.Row.Mask[t] {
				continue
			}
			weight := weightAt(v, t)
			logRatio := lp.at(t) - old.at(t)
			l, d, ratio, clipped := c.token(logRatio, adv.at(t))
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
	return c.Range.clip(logRatio, advantage, 0)
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
		lp, adv := logProbs(v), constants(v, engine.ChanAdvantage)
		for t := v.From; t < v.To; t++ {
			if w := weightAt(v, t) * v.Row.Scale * adv.at(t); w != 0 {
				loss -= w * lp.at(t)
				v.DLogProb[t-v.From] -= w
			}
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
