package objective

import (
	"math"
	"slices"

	"github.com/hone-lm/hone/engine"
)

// Covariances of advantage and log-prob drive the entropy of a policy down; ClipCov and KLCov hold back the tokens where they are large
// (Cui et al. 2025, "The entropy mechanism of reinforcement learning", arXiv 2505.22617, sections 4.2 and 4.3). Both see the whole step:
//
//	cov_t = (A_t - mean A) (lp_t - mean lp), means over the masks of all rows
//
// They allocate their list of tokens once a step.

// ClipCov is the clipped policy gradient with a random choice of tokens left out: among tokens that the clip leaves alone and whose
// covariance lies within (Lower, Upper), max(1, floor(Fraction * tokens)) are drawn by Key. Give each optimiser step its own Key.
type ClipCov struct {
	Range        ClipRange
	Fraction     float64 // paper: 2e-4
	Lower, Upper float64 // paper: 1 and 5
	Key          engine.Key
}

// KLCov is the policy gradient -r A without a clip, with Coef |lp - logp_old| added on the max(1, floor(Fraction * tokens)) tokens of
// the largest covariance (earlier tokens first on ties).
type KLCov struct {
	Fraction float64 // paper: 2e-4
	Coef     float64 // paper: 1
}

func (ClipCov) Name() string        { return "clip_cov" }
func (ClipCov) Scope() engine.Scope { return engine.ScopeBatch }
func (ClipCov) Needs() engine.Want  { return engine.Want{} }
func (ClipCov) Channels() []string  { return []string{engine.ChanOld, engine.ChanAdvantage} }
func (ClipCov) Holds() bool         { return true }

func (KLCov) Name() string        { return "kl_cov" }
func (KLCov) Scope() engine.Scope { return engine.ScopeBatch }
func (KLCov) Needs() engine.Want  { return engine.Want{} }
func (KLCov) Channels() []string  { return []string{engine.ChanOld, engine.ChanAdvantage} }
func (KLCov) Holds() bool         { return true }

// covToken is a token of the step with its covariance; number counts the masked tokens of all rows.
type covToken struct {
	number int
	cov    float64
}

// covariances lists the masked tokens of a step in order.
func covariances(views []engine.View) []covToken {
	meanA, meanLP, n := 0.0, 0.0, 0
	eachToken(views, func(v *engine.View, t, _ int) {
		meanA += constants(v, engine.ChanAdvantage).at(t)
		meanLP += logProbs(v).at(t)
		n++
	})
	if n == 0 {
		return nil
	}
	meanA, meanLP = meanA/float64(n), meanLP/float64(n)
	out := make([]covToken, 0, n)
	eachToken(views, func(v *engine.View, t, number int) {
		out = append(out, covToken{number, (constants(v, engine.ChanAdvantage).at(t) - meanA) * (logProbs(v).at(t) - meanLP)})
	})
	return out
}

func eachToken(views []engine.View, fn func(v *engine.View, t, number int)) {
	number := 0
	for i := range views {
		for t := views[i].From; t < views[i].To; t++ {
			if views[i].Row.Mask[t] {
				fn(&views[i], t, number)
				number++
			}
		}
	}
}

// pick returns, by number, the first of the tokens in the given order: max(1, floor(fraction * n)) of them.
func pick(tokens []covToken, fraction float64, n int, order func(a, b covToken) int) map[int]bool {
	slices.SortStableFunc(tokens, order)
	chosen := map[int]bool{}
	for _, c := range tokens[:min(len(tokens), max(1, int(fraction*float64(n))))] {
		chosen[c.number] = true
	}
	return chosen
}

func (o ClipCov) Eval(views []engine.View, tally *engine.Tally) float64 {
	return o.EvalHeld(views, views, tally)
}

func (o ClipCov) EvalHeld(views, held []engine.View, tally *engine.Tally) float64 {
	all := covariances(held)
	free := make([]bool, len(all)) // the clip leaves the token alone
	eachToken(held, func(v *engine.View, t, number int) {
		x := logProbs(v).at(t) - constants(v, engine.ChanOld).at(t)
		_, _, _, clipped := o.Range.clip(x, constants(v, engine.ChanAdvantage).at(t), 0)
		free[number] = clipped == 0
	})
	n := len(all)
	eligible := slices.DeleteFunc(all, func(c covToken) bool { return !free[c.number] || !(c.cov > o.Lower && c.cov < o.Upper) })
	out := pick(eligible, o.Fraction, n, func(a, b covToken) int {
		if o.Key.Uint64(uint64(a.number)) < o.Key.Uint64(uint64(b.number)) {
			return -1
		}
		return 1
	})
	loss := 0.0
	eachToken(views, func(v *engine.View, t, number int) {
		weight, left := weightAt(v, t), 1.0
		if !out[number] {
			left = 0
			x := logProbs(v).at(t) - constants(v, engine.ChanOld).at(t)
			l, d, _, _ := o.Range.clip(x, constants(v, engine.ChanAdvantage).at(t), 0)
			loss += weight * v.Row.Scale * l
			v.DLogProb[t-v.From] += weight * v.Row.Scale * d
		}
		tally.Add("left_out", left, weight)
	})
	return loss
}

func (o KLCov) Eval(views []engine.View, tally *engine.Tally) float64 {
	return o.EvalHeld(views, views, tally)
}

func (o KLCov) EvalHeld(views, held []engine.View, tally *engine.Tally) float64 {
	all := covariances(held)
	penalised := pick(all, o.Fraction, len(all), func(a, b covToken) int {
		if a.cov > b.cov {
			return -1
		} else if a.cov < b.cov {
			return 1
		}
		return 0
	})
	loss := 0.0
	eachToken(views, func(v *engine.View, t, number int) {
		weight := weightAt(v, t)
		x := logProbs(v).at(t) - constants(v, engine.ChanOld).at(t)
		l := -math.Exp(x) * constants(v, engine.ChanAdvantage).at(t)
		d := l
		if penalised[number] {
			l += o.Coef * math.Abs(x)
			d += o.Coef * sign(x)
		}
		loss += weight * v.Row.Scale * l
		v.DLogProb[t-v.From] += weight * v.Row.Scale * d
		tally.Add("ratio", math.Exp(x), weight)
	})
	return loss
}

func sign(x float64) float64 {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return 0
}
