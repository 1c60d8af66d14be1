package objective

import (
	"math"

	"github.com/hone-lm/hone/engine"
)

// RatioLevel says over what the probability ratio of the new and the old policy is taken. x_t = lp_t - logp_old_t, means are over the mask.
type RatioLevel string

const (
	RatioToken         RatioLevel = "token"          // r_t = exp(x_t)
	RatioSequence      RatioLevel = "sequence"       // s = exp(mean x), one for all tokens; the gradient flows to every token (GSPO, Zheng et al. 2025, arXiv 2507.18071, section 4.1)
	RatioSequenceToken RatioLevel = "sequence_token" // the value of s, whose gradient flows to token t alone (GSPO-token, section 4.3)
)

// RatioLevels lists every level, for help and validation.
var RatioLevels = []RatioLevel{RatioToken, RatioSequence, RatioSequenceToken}

// SurrogateForm says how a ratio r and an advantage A become the loss of a token.
type SurrogateForm string

const (
	FormClip  SurrogateForm = "clip"                // -min(min(r, Delta) A, clip(r) A), Dual as in ClipRange (PPO, GRPO, DAPO, GSPO)
	FormRatio SurrogateForm = "importance_sampling" // -r A
	FormCISPO SurrogateForm = "cispo"               // -clip(r) A lp with clip(r) held constant (MiniMax-M1, 2025, arXiv 2506.13585)
	FormSAPO  SurrogateForm = "sapo"                // -4/tau sigmoid(tau (r - 1)) A, tau by the sign of A (SAPO, 2025, arXiv 2511.20347)
)

// SurrogateForms lists every form, for help and validation.
var SurrogateForms = []SurrogateForm{FormClip, FormRatio, FormCISPO, FormSAPO}

// Surrogate is the family of policy losses that are a function of one ratio and one advantage a token:
//
//	loss = sum w_t l(r_t, A_t, lp_t)
//
// It reads the channels logp_old and advantage, and tallies ratio, clip_fraction and approx_kl. With Form "clip" and token ratios it is
// Clipped.
type Surrogate struct {
	Form           SurrogateForm
	Ratio          RatioLevel // "" = token
	Range          ClipRange  // clip, cispo: [1-Low, 1+High]. Low 1 leaves the ratio free below
	Delta          float64    // clip: the ratio of the unclipped term is at most this (two-sided clipping, INTELLECT-2, arXiv 2505.07291); 0 = off
	TauPos, TauNeg float64    // sapo: temperature for A > 0, and for the rest
	MaxLog         float64    // log-ratios are cut off here, without a gradient beyond: on both sides for token ratios, above for sequence ratios; 0 = off
}

// Name implements engine.Objective.
func (s Surrogate) Name() string {
	if s.tokenRatio() {
		return string(s.Form)
	}
	return string(s.Form) + "_" + string(s.Ratio)
}

// Scope implements engine.Objective.
func (s Surrogate) Scope() engine.Scope {
	if s.tokenRatio() {
		return engine.ScopeToken
	}
	return engine.ScopeSequence
}

func (Surrogate) Needs() engine.Want { return engine.Want{} }

// Channels implements engine.ChannelReader.
func (Surrogate) Channels() []string { return []string{engine.ChanOld, engine.ChanAdvantage} }

func (s Surrogate) tokenRatio() bool { return s.Ratio == "" || s.Ratio == RatioToken }

func (s Surrogate) Eval(views []engine.View, tally *engine.Tally) float64 {
	return s.EvalHeld(views, views, tally)
}

func (s Surrogate) Holds() bool { return s.Form == FormCISPO || s.Ratio == RatioSequenceToken }

func (s Surrogate) EvalHeld(views, held []engine.View, tally *engine.Tally) float64 {
	loss := 0.0
	for i := range views {
		if s.tokenRatio() {
			loss += s.tokens(&views[i], &held[i], tally)
		} else {
			loss += s.sequence(&views[i], &held[i], tally)
		}
	}
	return loss
}

func (s Surrogate) tokens(v, held *engine.View, tally *engine.Tally) float64 {
	lp, was, old, adv := logProbs(v), logProbs(held), constants(v, engine.ChanOld), constants(v, engine.ChanAdvantage)
	loss := 0.0
	for t := v.From; t < v.To; t++ {
		if !v.Row.Mask[t] {
			continue
		}
		x, slope := s.bound(lp.at(t) - old.at(t))
		h, _ := s.bound(was.at(t) - old.at(t))
		p := s.point(x, h, lp.at(t), adv.at(t))
		weight := weightAt(v, t)
		w := weight * v.Row.Scale
		loss += w * p.loss
		v.DLogProb[t-v.From] += w * (p.byRatio*slope + p.byLogProb)
		p.tally(tally, lp.at(t)-old.at(t), weight)
	}
	return loss
}

func (s Surrogate) sequence(v, held *engine.View, tally *engine.Tally) float64 {
	lp, was, old, adv := logProbs(v), logProbs(held), constants(v, engine.ChanOld), constants(v, engine.ChanAdvantage)
	mean, n := meanLogRatio(v, lp, old)
	heldMean, _ := meanLogRatio(v, was, old)
	h, _ := s.bound(heldMean)
	loss, byMean := 0.0, 0.0
	for t := v.From; t < v.To; t++ {
		if !v.Row.Mask[t] {
			continue
		}
		x := mean
		if s.Ratio == RatioSequenceToken {
			x = heldMean + (lp.at(t) - was.at(t))
		}
		x, slope := s.bound(x)
		p := s.point(x, h, lp.at(t), adv.at(t))
		weight := weightAt(v, t)
		w := weight * v.Row.Scale
		loss += w * p.loss
		v.DLogProb[t-v.From] += w * p.byLogProb
		if s.Ratio == RatioSequenceToken {
			v.DLogProb[t-v.From] += w * p.byRatio * slope
		} else {
			byMean += w * p.byRatio * slope
		}
		p.tally(tally, lp.at(t)-old.at(t), weight)
	}
	if s.Ratio == RatioSequence {
		addMasked(v, byMean/float64(n))
	}
	return loss
}

// bound cuts a log-ratio off at MaxLog and returns the slope of that.
func (s Surrogate) bound(x float64) (bounded, slope float64) {
	switch {
	case s.MaxLog == 0:
		return x, 1
	case x > s.MaxLog:
		return s.MaxLog, 0
	case x < -s.MaxLog && s.tokenRatio():
		return -s.MaxLog, 0
	}
	return x, 1
}

// point is the loss of one token with its derivatives by the log-ratio and, apart from that, by the log-prob.
type point struct{ loss, byRatio, byLogProb, ratio, clipped float64 }

func (p point) tally(tally *engine.Tally, logRatio, weight float64) {
	tally.Add("ratio", p.ratio, weight)
	tally.Add("clip_fraction", p.clipped, weight)
	tally.Add("approx_kl", math.Expm1(-logRatio)+logRatio, weight)
}

// point evaluates the form at log-ratio x; held is the log-ratio through which no gradient flows.
func (s Surrogate) point(x, held, logProb, advantage float64) (p point) {
	switch s.Form {
	case FormRatio:
		p.ratio = math.Exp(x)
		p.loss = -p.ratio * advantage
		p.byRatio = p.loss
	case FormCISPO:
		p.ratio = math.Exp(held)
		bound := math.Min(math.Max(p.ratio, 1-s.Range.Low), 1+s.Range.High)
		p.loss, p.byLogProb = -bound*advantage*logProb, -bound*advantage
		if bound != p.ratio {
			p.clipped = 1
		}
	case FormSAPO:
		p.ratio = math.Exp(x)
		tau := s.TauNeg
		if advantage > 0 {
			tau = s.TauPos
		}
		gate := sigmoid(tau * (p.ratio - 1))
		p.loss = -4 / tau * gate * advantage
		p.byRatio = -4 * gate * sigmoid(tau*(1-p.ratio)) * p.ratio * advantage
	default:
		p.loss, p.byRatio, p.ratio, p.clipped = s.Range.clip(x, advantage, s.Delta)
	}
	return p
}

// clip returns the clipped loss of one token, its derivative by the log-ratio, the ratio and 1 if a bound took effect.
func (c ClipRange) clip(logRatio, advantage, delta float64) (loss, deriv, ratio, clipped float64) {
	ratio = math.Exp(logRatio)
	loss, deriv = -ratio*advantage, -ratio*advantage
	if delta > 0 && ratio > delta {
		loss, deriv, clipped = -delta*advantage, 0, 1
	}
	bound := math.Min(math.Max(ratio, 1-c.Low), 1+c.High)
	if -bound*advantage > loss {
		loss, deriv, clipped = -bound*advantage, 0, 1
		if bound == ratio { // Delta lies within the range and the advantage is negative
			deriv, clipped = loss, 0
		}
	}
	if c.Dual > 1 && advantage < 0 && loss > -c.Dual*advantage {
		loss, deriv, clipped = -c.Dual*advantage, 0, 1
	}
	return loss, deriv, ratio, clipped
}

// meanLogRatio returns the mean of lp - old over the n tokens of the mask.
func meanLogRatio(v *engine.View, lp, old column) (mean float64, n int) {
	for t := v.From; t < v.To; t++ {
		if v.Row.Mask[t] {
			mean += lp.at(t) - old.at(t)
			n++
		}
	}
	return mean / float64(max(n, 1)), n
}

// addMasked adds d to the derivative of every token of the mask.
func addMasked(v *engine.View, d float64) {
	for t := v.From; t < v.To; t++ {
		if v.Row.Mask[t] {
			v.DLogProb[t-v.From] += d
		}
	}
}
