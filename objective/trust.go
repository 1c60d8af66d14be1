package objective

import (
	"math"

	"github.com/hone-lm/hone/engine"
)

// Divergence names a divergence between the Bernoulli distributions "this token or another" of the new and the old policy.
type Divergence string

const (
	BinaryTV Divergence = "tv" // p - p_old
	BinaryKL Divergence = "kl" // p_old log(p_old/p) + (1 - p_old) log((1 - p_old)/(1 - p)), 1e-8 added within the second logarithm
)

// Divergences lists every divergence, for help and validation.
var Divergences = []Divergence{BinaryTV, BinaryKL}

// DPPO is divergence proximal policy optimisation with binary divergences (2026, arXiv 2602.04879):
//
//	loss = -sum w_t v_t min(r_t, Cap) A_t lp_t,   r_t = exp(x_t), x_t = lp_t - logp_old_t cut off at +-20
//
// v_t is 0 where A_t > 0 and the probability rose by more than High, or A_t <= 0 and it fell by more than Low, measured by the divergence;
// v_t and the ratio are held constant. It reads the channels logp_old and advantage and tallies ratio and clip_fraction.
type DPPO struct {
	Divergence     Divergence
	Low, High, Cap float64
}

func (o DPPO) Name() string      { return "dppo_" + string(o.Divergence) }
func (DPPO) Scope() engine.Scope { return engine.ScopeToken }
func (DPPO) Needs() engine.Want  { return engine.Want{} }
func (DPPO) Channels() []string  { return []string{engine.ChanOld, engine.ChanAdvantage} }

func (o DPPO) Eval(views []engine.View, tally *engine.Tally) float64 {
	return o.EvalHeld(views, views, tally)
}

func (DPPO) Holds() bool { return true }

func (o DPPO) EvalHeld(views, held []engine.View, tally *engine.Tally) float64 {
	loss := 0.0
	for i := range views {
		v := &views[i]
		lp, was, old, adv := logProbs(v), logProbs(&held[i]), constants(v, engine.ChanOld), constants(v, engine.ChanAdvantage)
		for t := v.From; t < v.To; t++ {
			if !v.Row.Mask[t] {
				continue
			}
			weight, outside := weightAt(v, t), 1.0
			ratio := math.Exp(clamp(was.at(t)-old.at(t), -20, 20))
			if o.valid(was.at(t), old.at(t), adv.at(t)) {
				w := weight * v.Row.Scale * math.Min(ratio, o.Cap) * adv.at(t)
				loss -= w * lp.at(t)
				v.DLogProb[t-v.From] -= w
				outside = 0
			}
			tally.Add("ratio", ratio, weight)
			tally.Add("clip_fraction", outside, weight)
		}
	}
	return loss
}

func (o DPPO) valid(logProb, old, advantage float64) bool {
	p, q := math.Exp(logProb), math.Exp(old)
	if o.Divergence == BinaryTV {
		if advantage > 0 {
			return p-q <= o.High
		}
		return p-q >= -o.Low
	}
	kl := q*(old-logProb) + (1-q)*math.Log((1-q+1e-8)/(1-p+1e-8))
	if advantage > 0 {
		return kl <= o.High || p <= q
	}
	return kl <= o.Low || p >= q
}

// DRO is direct reward optimisation with advantages given (Richemond et al. 2024, arXiv 2405.19107):
//
//	loss = -sum w_t (A_t lp_t - Beta/2 (lp_t - logp_old_t)^2)
//
// It reads the channels logp_old and advantage.
type DRO struct{ Beta float64 }

func (DRO) Name() string        { return "dro" }
func (DRO) Scope() engine.Scope { return engine.ScopeToken }
func (DRO) Needs() engine.Want  { return engine.Want{} }
func (DRO) Channels() []string  { return []string{engine.ChanOld, engine.ChanAdvantage} }

func (o DRO) Eval(views []engine.View, tally *engine.Tally) float64 {
	loss := 0.0
	for i := range views {
		v := &views[i]
		lp, old, adv := logProbs(v), constants(v, engine.ChanOld), constants(v, engine.ChanAdvantage)
		for t := v.From; t < v.To; t++ {
			if !v.Row.Mask[t] {
				continue
			}
			w, x := weightAt(v, t)*v.Row.Scale, lp.at(t)-old.at(t)
			loss -= w * (adv.at(t)*lp.at(t) - o.Beta/2*x*x)
			v.DLogProb[t-v.From] -= w * (adv.at(t) - o.Beta*x)
			tally.Add("k2", x*x/2, weightAt(v, t))
		}
	}
	return loss
}

// ValueLoss fits the value head to returns, with the prediction kept near the old one where that makes the loss larger (PPO as in
// Schulman's baselines; Huang et al. 2022, "The 37 implementation details", detail 9):
//
//	loss = sum w_t/2 max((v_t - R_t)^2, (clip(v_t, value_old_t - Clip, value_old_t + Clip) - R_t)^2)
//
// It reads the value column and the channels value_old and return, and tallies value_clip_fraction. Clip 0 = no clipping, and value_old
// is then not read.
type ValueLoss struct{ Clip float64 }

func (ValueLoss) Name() string        { return "value" }
func (ValueLoss) Scope() engine.Scope { return engine.ScopeToken }
func (ValueLoss) Needs() engine.Want  { return engine.Want{Value: true} }

// Channels implements engine.ChannelReader.
func (o ValueLoss) Channels() []string {
	if o.Clip == 0 {
		return []string{engine.ChanReturn}
	}
	return []string{engine.ChanReturn, engine.ChanValueOld}
}

func (o ValueLoss) Eval(views []engine.View, tally *engine.Tally) float64 {
	loss := 0.0
	for i := range views {
		v := &views[i]
		value, ret := values(v), constants(v, engine.ChanReturn)
		var old column
		if o.Clip > 0 {
			old = constants(v, engine.ChanValueOld)
		}
		for t := v.From; t < v.To; t++ {
			if !v.Row.Mask[t] {
				continue
			}
			weight, clipped := weightAt(v, t), 0.0
			d := value.at(t) - ret.at(t)
			slope := d
			if o.Clip > 0 {
				if c := clamp(value.at(t), old.at(t)-o.Clip, old.at(t)+o.Clip) - ret.at(t); c*c > d*d {
					d, slope, clipped = c, 0, 1
				}
			}
			w := weight * v.Row.Scale
			loss += w * d * d / 2
			v.DValue[t-v.From] += w * slope
			tally.Add("value_clip_fraction", clipped, weight)
		}
	}
	return loss
}
