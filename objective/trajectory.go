package objective

import (
	"math"

	"github.com/hone-lm/hone/engine"
)

// VESPO is variational sequence-level soft policy optimisation (2026, arXiv 2602.10693) as TRL computes it: a gamma-shaped weight of the
// whole sequence's ratio, held constant, in front of REINFORCE:
//
//	loss = -sum w_t phi_t A_t lp_t,   phi = exp(lambda + k log W - lambda W),   W = exp(sum of x over the mask)
//
// with x_t = lp_t - logp_old_t cut off at +-20 and log W at [log 1e-8, 20]; k and lambda go by the sign of A_t. phi is 1 on policy. It
// reads the channels logp_old and advantage and tallies phi.
type VESPO struct{ KPos, LambdaPos, KNeg, LambdaNeg float64 }

func (VESPO) Name() string        { return "vespo" }
func (VESPO) Scope() engine.Scope { return engine.ScopeSequence }
func (VESPO) Needs() engine.Want  { return engine.Want{} }
func (VESPO) Channels() []string  { return []string{engine.ChanOld, engine.ChanAdvantage} }

func (o VESPO) Eval(views []engine.View, tally *engine.Tally) float64 {
	return o.EvalHeld(views, views, tally)
}

func (VESPO) Holds() bool { return true }

func (o VESPO) EvalHeld(views, held []engine.View, tally *engine.Tally) float64 {
	loss := 0.0
	for i := range views {
		v := &views[i]
		lp, was, old, adv := logProbs(v), logProbs(&held[i]), constants(v, engine.ChanOld), constants(v, engine.ChanAdvantage)
		logW := 0.0
		for t := v.From; t < v.To; t++ {
			if v.Row.Mask[t] {
				logW += clamp(was.at(t)-old.at(t), -20, 20)
			}
		}
		logW = clamp(logW, math.Log(1e-8), 20)
		for t := v.From; t < v.To; t++ {
			if !v.Row.Mask[t] {
				continue
			}
			weight := weightAt(v, t)
			phi := o.phi(logW, adv.at(t))
			w := weight * v.Row.Scale * phi * adv.at(t)
			loss -= w * lp.at(t)
			v.DLogProb[t-v.From] -= w
			tally.Add("phi", phi, weight)
		}
	}
	return loss
}

func (o VESPO) phi(logW, advantage float64) float64 {
	k, lambda := o.KNeg, o.LambdaNeg
	if advantage >= 0 {
		k, lambda = o.KPos, o.LambdaPos
	}
	lambda = math.Max(lambda, 1e-4)
	phi := math.Exp(lambda + k*logW - lambda*math.Exp(logW))
	if math.IsNaN(phi) || math.IsInf(phi, 0) {
		return 0
	}
	return phi
}

// GMPO is geometric-mean policy optimisation (Zhao et al. 2025, arXiv 2507.20673): a row's loss is
//
//	-scale * mean(A) * exp(mean y),   y_t = sign(A_t) min(sign(A_t) x_t, sign(A_t) clip(x_t, -Low, High)),   x_t = lp_t - logp_old_t
//
// with means over the mask. It is a loss of sequences: norm unit_mean gives their mean, and token weights are not read. It reads the
// channels logp_old and advantage and tallies ratio and clip_fraction.
type GMPO struct{ Low, High float64 }

func (GMPO) Name() string        { return "gmpo" }
func (GMPO) Scope() engine.Scope { return engine.ScopeSequence }
func (GMPO) Needs() engine.Want  { return engine.Want{} }
func (GMPO) Channels() []string  { return []string{engine.ChanOld, engine.ChanAdvantage} }

func (o GMPO) Eval(views []engine.View, tally *engine.Tally) float64 {
	loss := 0.0
	for i := range views {
		v := &views[i]
		lp, old, adv := logProbs(v), constants(v, engine.ChanOld), constants(v, engine.ChanAdvantage)
		sum, advantage, n := 0.0, 0.0, 0.0
		for t := v.From; t < v.To; t++ {
			if v.Row.Mask[t] {
				y, _ := o.limit(lp.at(t)-old.at(t), adv.at(t))
				sum += y
				advantage += adv.at(t)
				n++
			}
		}
		if n == 0 {
			continue
		}
		ratio := math.Exp(sum / n)
		row := -v.Row.Scale * advantage / n * ratio
		loss += row
		for t := v.From; t < v.To; t++ {
			if v.Row.Mask[t] {
				_, slope := o.limit(lp.at(t)-old.at(t), adv.at(t))
				v.DLogProb[t-v.From] += row / n * slope
				tally.Add("clip_fraction", 1-slope, 1)
			}
		}
		tally.Add("ratio", ratio, 1)
	}
	return loss
}

// limit returns y_t and its derivative by x_t: an advantage bounds the log-ratio on its own side only, and 0 leaves the token out.
func (o GMPO) limit(x, advantage float64) (y, slope float64) {
	switch {
	case advantage == 0:
		return 0, 0
	case advantage > 0 && x > o.High:
		return o.High, 0
	case advantage < 0 && x < -o.Low:
		return -o.Low, 0
	}
	return x, 1
}

func clamp(x, low, high float64) float64 { return math.Min(math.Max(x, low), high) }
