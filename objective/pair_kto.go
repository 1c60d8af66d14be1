package objective

import (
	"fmt"
	"math"
	"slices"

	"github.com/hone-lm/hone/engine"
)

// ChanLabel is the channel that says whether an unpaired answer is desirable (1) or not (0), the same for all its tokens.
const ChanLabel = "label"

// UnpairedLoss names a loss over single answers that are desirable or not.
type UnpairedLoss string

const (
	UnpairedKTO UnpairedLoss = "kto"               // Ethayarajh et al. 2024
	UnpairedAPO UnpairedLoss = "apo_zero_unpaired" // D'Oosterlinck et al. 2024, equation 7, answer by answer
	UnpairedBCO UnpairedLoss = "bco"               // Jung et al. 2024
)

// UnpairedLosses lists every loss, for help and validation.
var UnpairedLosses = []UnpairedLoss{UnpairedKTO, UnpairedAPO, UnpairedBCO}

// KTO is Kahneman-Tversky optimisation and its relatives over answers that stand alone. With ratio = sum_t w_t (lp_t - ref_t), ref from the
// channel logp_ref, S the logistic function, and the channel ChanLabel saying which:
//
//	                    desirable                      undesirable
//	kto                 1 - S(Beta (ratio - KL))       1 - S(Beta (KL - ratio))
//	apo_zero_unpaired   1 - S(Beta ratio)              S(Beta ratio)
//	bco                 -log S(Beta ratio - Delta)     -log S(Delta - Beta ratio)
//
// times Desirable or Undesirable and the row's Scale (norm unit_mean, Unit 0: the mean over answers). It tallies reward_desirable and
// reward_undesirable.
type KTO struct {
	Loss        UnpairedLoss `yaml:"loss"`
	Beta        float64      `yaml:"beta"`        // 0.1 is usual
	Desirable   float64      `yaml:"desirable"`   // weight of desirable answers; 1 where both kinds are as many
	Undesirable float64      `yaml:"undesirable"` // weight of the others
	KL          float64      `yaml:"-"`           // kto: distance of the policy from its reference in nats, detached: KLBaseline of the step
	Delta       float64      `yaml:"-"`           // bco: running mean of rewards (half the sum of both kinds' means), kept by the recipe
}

// KLBaseline estimates KTO's reference point: the mean over answers that belong to other prompts of logp - ref (sums over the answer), at
// least 0 (Ethayarajh et al. 2024).
func KLBaseline(logp, ref []float64) (float64, error) {
	if len(logp) == 0 || len(logp) != len(ref) {
		return 0, fmt.Errorf("kto: %d log-probs and %d of the reference for the KL baseline: give as many of each, at least one", len(logp), len(ref))
	}
	sum := 0.0
	for i := range logp {
		sum += logp[i] - ref[i]
	}
	return math.Max(0, sum/float64(len(logp))), nil
}

func (k KTO) Name() string      { return string(k.Loss) }
func (KTO) Scope() engine.Scope { return engine.ScopeSequence }
func (KTO) Needs() engine.Want  { return engine.Want{} }

// Channels implements engine.ChannelReader.
func (KTO) Channels() []string { return []string{engine.ChanRef, ChanLabel} }

// Check refuses settings that name nothing or give no finite loss.
func (k KTO) Check() error {
	switch {
	case !slices.Contains(UnpairedLosses, k.Loss):
		return fmt.Errorf("unpaired preference loss %q: use %s", k.Loss, list(UnpairedLosses))
	case !(k.Beta > 0) || math.IsInf(k.Beta, 0):
		return fmt.Errorf("%s: beta is %g: give a positive number, 0.1 is usual", k.Loss, k.Beta)
	case !finite(k.Desirable) || !finite(k.Undesirable) || !finite(k.KL) || !finite(k.Delta):
		return fmt.Errorf("%s: weights %g and %g, KL %g, delta %g: give finite numbers", k.Loss, k.Desirable, k.Undesirable, k.KL, k.Delta)
	}
	return nil
}

// CheckRows implements engine.RowChecker.
func (k KTO) CheckRows(rows []engine.Row) error {
	if err := k.Check(); err != nil {
		return err
	}
	for i := range rows {
		c, first := rows[i].Seq.Channel(ChanLabel), slices.Index(rows[i].Mask, true)
		for t := range c {
			if rows[i].Mask[t] && (c[t] != c[first] || c[t] != 0 && c[t] != 1) {
				return fmt.Errorf("%s: sequence %s has label %g at token %d: give one label a sequence, 1 (desirable) or 0, on all its tokens", k.Loss, rows[i].Seq.Label(), c[t], t)
			}
		}
	}
	return nil
}

func (k KTO) Eval(views []engine.View, tally *engine.Tally) float64 {
	loss := 0.0
	for i := range views {
		v := &views[i]
		first := slices.Index(v.Row.Mask, true)
		if first < 0 {
			continue // nothing of it is counted
		}
		s := side{scale: v.Row.Scale, shared: math.MaxInt}
		c := columns[float32]{row: v.Row, from: v.From, to: v.To, logp: v.LogProb, ref: channel(v, engine.ChanRef), d: v.DLogProb}
		c.read(&s)
		loss += k.answer(&s, channel(v, ChanLabel)[first] != 0, tally)
		c.add(&s)
	}
	return loss
}

// answer returns the loss of one answer and writes its derivative.
func (k *KTO) answer(s *side, desirable bool, tally *engine.Tally) float64 {
	sign, weight, name := 1.0, s.scale*k.Desirable, "reward_desirable"
	if !desirable {
		sign, weight, name = -1, s.scale*k.Undesirable, "reward_undesirable"
	}
	tally.Add(name, k.Beta*s.ratio, 1)
	switch k.Loss {
	case UnpairedBCO:
		q := sign * (k.Beta*s.ratio - k.Delta)
		s.dLogp = -weight * sign * k.Beta * sigmoid(-q)
		return weight * softplus(-q)
	case UnpairedKTO:
		q := sign * k.Beta * (s.ratio - k.KL)
		s.dLogp = -weight * sign * k.Beta * bump(q)
		return weight * sigmoid(-q)
	}
	q := sign * k.Beta * s.ratio
	s.dLogp = -weight * sign * k.Beta * bump(q)
	return weight * sigmoid(-q)
}
