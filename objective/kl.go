package objective

import (
	"math"
	"strings"

	"github.com/hone-lm/hone/engine"
)

// KLEstimator names an estimator of KL(policy || reference) from samples of the policy (Schulman 2020, "Approximating KL divergence").
// Any name with a "+" behind it keeps that estimator's value and takes the derivative of k2: under the policy, lp - ref is the derivative
// whose mean is the gradient of the KL divergence, which those of k1 and k3 are not.
type KLEstimator string

const (
	K1       KLEstimator = "k1"         // lp - ref
	K2       KLEstimator = "k2"         // (lp - ref)^2 / 2
	K3       KLEstimator = "k3"         // exp(ref - lp) - (ref - lp) - 1
	KLAbs    KLEstimator = "abs"        // |lp - ref|: a distance, whose mean is not the divergence
	LowVarKL KLEstimator = "low_var_kl" // k3 with ref - lp cut off at +-20 and the value at 10, as verl computes it
)

// KLEstimators lists the estimators of the divergence itself, for help and validation.
var KLEstimators = []KLEstimator{K1, K2, K3}

// Value returns the estimate and its derivative by lp. Names are checked against KLPenalties before any arithmetic.
func (e KLEstimator) Value(logProb, ref float64) (kl, deriv float64) {
	d := logProb - ref
	switch e {
	case K1:
		return d, 1
	case K2:
		return d * d / 2, d
	case K3:
		return math.Expm1(-d) + d, -math.Expm1(-d)
	case KLAbs:
		return math.Abs(d), sign(d)
	case LowVarKL:
		x := clamp(-d, -20, 20)
		if kl = math.Expm1(x) - x; kl > 10 {
			return 10, 0
		}
		if x != -d {
			return kl, 0
		}
		return kl, -math.Expm1(x)
	}
	base, through := e.through()
	if !through {
		base = K3
	}
	if kl, deriv = base.Value(logProb, ref); through {
		deriv = d
	}
	return kl, deriv
}

// KLPenalties lists every name that Value knows, for help and validation.
var KLPenalties = []KLEstimator{K1, K2, K3, KLAbs, LowVarKL, K1 + "+", K2 + "+", K3 + "+", KLAbs + "+", LowVarKL + "+"}

// through splits the "+" off.
func (e KLEstimator) through() (base KLEstimator, through bool) {
	name, through := strings.CutSuffix(string(e), "+")
	return KLEstimator(name), through
}

// KL is a penalty in the loss: loss = sum w_t kl_t against the channel Ref (logp_ref when empty). It tallies kl.
type KL struct {
	Estimator KLEstimator
	Ref       string
}

func (k KL) Name() string       { return "kl_" + string(k.Estimator) }
func (KL) Scope() engine.Scope  { return engine.ScopeToken }
func (KL) Needs() engine.Want   { return engine.Want{} }
func (k KL) Channels() []string { return []string{refChannel(k.Ref)} }
func refChannel(ref string) string {
	if ref == "" {
		return engine.ChanRef
	}
	return ref
}

func (k KL) Eval(views []engine.View, tally *engine.Tally) float64 {
	return k.EvalHeld(views, views, tally)
}

func (k KL) Holds() bool {
	_, through := k.Estimator.through()
	return through
}

func (k KL) EvalHeld(views, held []engine.View, tally *engine.Tally) float64 {
	loss, through := 0.0, k.Holds()
	for i := range views {
		v := &views[i]
		lp, was, ref := logProbs(v), logProbs(&held[i]), constants(v, refChannel(k.Ref))
		for t := v.From; t < v.To; t++ {
			if !v.Row.Mask[t] {
				continue
			}
			kl, d := k.Estimator.Value(lp.at(t), ref.at(t))
			if through { // the value, held constant, + k2 - k2 held constant
				old := was.at(t) - ref.at(t)
				kl, _ = k.Estimator.Value(was.at(t), ref.at(t))
				kl += (d*d - old*old) / 2
			}
			w := weightAt(v, t)
			loss += w * v.Row.Scale * kl
			v.DLogProb[t-v.From] += w * v.Row.Scale * d
			tally.Add("kl", kl, w)
		}
	}
	return loss
}

// RatioKL is the penalty of KL weighted by the probability ratio of the new and the old policy, through which the gradient flows too: an
// unbiased estimate where the tokens come from the old policy (DeepSeek-V3.2, arXiv 2512.02556; TRL's use_bias_correction_kl):
//
//	loss = sum w_t r_t kl_t,   r_t = exp(lp_t - logp_old_t), or exp of its mean over the mask with Ratio "sequence"
type RatioKL struct {
	Estimator KLEstimator // without "+"
	Ref       string
	Ratio     RatioLevel // "" = token
}

func (k RatioKL) Name() string     { return "ratio_kl_" + string(k.Estimator) }
func (RatioKL) Needs() engine.Want { return engine.Want{} }

// Channels implements engine.ChannelReader.
func (k RatioKL) Channels() []string { return []string{engine.ChanOld, refChannel(k.Ref)} }

// Scope implements engine.Objective.
func (k RatioKL) Scope() engine.Scope {
	if k.Ratio == RatioSequence {
		return engine.ScopeSequence
	}
	return engine.ScopeToken
}

func (k RatioKL) Eval(views []engine.View, tally *engine.Tally) float64 {
	loss := 0.0
	for i := range views {
		v := &views[i]
		lp, old, ref := logProbs(v), constants(v, engine.ChanOld), constants(v, refChannel(k.Ref))
		mean, n := 0.0, 0
		if k.Ratio == RatioSequence {
			mean, n = meanLogRatio(v, lp, old)
		}
		byMean := 0.0
		for t := v.From; t < v.To; t++ {
			if !v.Row.Mask[t] {
				continue
			}
			kl, d := k.Estimator.Value(lp.at(t), ref.at(t))
			x := mean
			if k.Ratio != RatioSequence {
				x = lp.at(t) - old.at(t)
			}
			weight := weightAt(v, t)
			w := weight * v.Row.Scale * math.Exp(x)
			loss += w * kl
			v.DLogProb[t-v.From] += w * d
			if k.Ratio == RatioSequence {
				byMean += w * kl
			} else {
				v.DLogProb[t-v.From] += w * kl
			}
			tally.Add("kl", kl, weight)
		}
		if n > 0 {
			addMasked(v, byMean/float64(n))
		}
	}
	return loss
}
