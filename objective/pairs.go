package objective

import (
	"fmt"
	"math"

	"github.com/hone-lm/hone/engine"
)

// DPO is direct preference optimisation (Rafailov et al. 2023, equation 7) over units of two rows, the chosen one first:
//
//	c = sum_t w_t lp_t of the chosen row, r of the rejected one, c0 and r0 the same from the channel logp_ref
//	loss = -log sigmoid(Beta * ((c - r) - (c0 - r0)))
//
// Token weights multiply log-probs; the unit's loss is scaled by the chosen row's Scale (norm unit_mean). It tallies reward_chosen,
// reward_rejected and accuracy.
type DPO struct{ Beta float64 }

func (DPO) Name() string        { return "dpo" }
func (DPO) Scope() engine.Scope { return engine.ScopeUnit }
func (DPO) Needs() engine.Want  { return engine.Want{} }

func (d DPO) Eval(views []engine.View, tally *engine.Tally) float64 {
	if len(views) != 2 {
		panic(fmt.Sprintf("objective: dpo wants units of two rows, chosen then rejected; unit %d has %d", views[0].Row.Seq.Unit, len(views)))
	}
	chosen, rejected := &views[0], &views[1]
	rewardChosen := d.Beta * sumAgainst(chosen, engine.ChanRef)
	rewardRejected := d.Beta * sumAgainst(rejected, engine.ChanRef)
	margin := rewardChosen - rewardRejected
	scale := chosen.Row.Scale
	slope := -scale * d.Beta * sigmoid(-margin) // d loss / d c
	addWeighted(chosen, slope)
	addWeighted(rejected, -slope)
	accuracy := 0.0
	if margin > 0 {
		accuracy = 1
	}
	tally.Add("reward_chosen", rewardChosen, 1)
	tally.Add("reward_rejected", rewardRejected, 1)
	tally.Add("accuracy", accuracy, 1)
	return scale * softplus(-margin)
}

// sumAgainst returns sum_t w_t (lp_t - ref_t).
func sumAgainst(v *engine.View, ref string) float64 {
	base := channel(v, ref)
	sum := 0.0
	for t := v.From; t < v.To; t++ {
		if w := v.Row.WeightAt(t); w != 0 {
			sum += w * (float64(v.LogProb[t-v.From]) - float64(base[t]))
		}
	}
	return sum
}

func addWeighted(v *engine.View, slope float64) {
	for t := v.From; t < v.To; t++ {
		v.DLogProb[t-v.From] += slope * v.Row.WeightAt(t)
	}
}

func sigmoid(x float64) float64 {
	if x < 0 {
		e := math.Exp(x)
		return e / (1 + e)
	}
	return 1 / (1 + math.Exp(-x))
}

// softplus is log(1 + e^x) = -log sigmoid(-x).
func softplus(x float64) float64 { return math.Max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }
