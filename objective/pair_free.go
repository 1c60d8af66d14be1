package objective

import (
	"fmt"
	"math"
	"slices"

	"github.com/hone-lm/hone/engine"
)

// FreeLoss names a preference loss without a reference model.
type FreeLoss string

const (
	CPO   FreeLoss = "cpo"   // contrastive preference optimisation (Xu et al. 2024, equation 3)
	SimPO FreeLoss = "simpo" // simple preference optimisation (Meng et al. 2024, equation 6)
	ORPO  FreeLoss = "orpo"  // odds-ratio preference optimisation (Hong et al. 2024, equation 7)
)

// FreeLosses lists every loss, for help and validation.
var FreeLosses = []FreeLoss{CPO, SimPO, ORPO}

// ReferenceFree holds preference losses without a reference, over units of two rows, the chosen one first. With logp = sum_t w_t lp_t of a
// row, n its number of tokens and e = LabelSmoothing:
//
//	cpo     m = Beta logp_c - Beta logp_r                       loss = -(1-e) log S(m) - e log S(-m)
//	simpo   m = Beta logp_c/n_c - Beta logp_r/n_r - Gamma       the same
//	orpo    m = odds(logp_c/n_c) - odds(logp_r/n_r)             Beta times the same,   odds(a) = a - log(1 - e^a)
//
// scaled by the chosen row's Scale (norm unit_mean). CPO and ORPO add the likelihood of the chosen answers: give them a second stream,
// cross_entropy over the chosen rows (CPO's paper: norm sum over pairs; ORPO's: seq_mean; TRL: token_mean for both). It tallies
// reward_chosen and reward_rejected (Beta times logp, by token for simpo and orpo) and accuracy.
type ReferenceFree struct {
	Loss           FreeLoss `yaml:"loss"`
	Beta           float64  `yaml:"beta"`            // ORPO's lambda; usual are 0.1 (cpo, orpo) and 2 to 2.5 (simpo)
	Gamma          float64  `yaml:"gamma"`           // simpo's target margin
	LabelSmoothing float64  `yaml:"label_smoothing"` // 0 in the papers
}

func (f ReferenceFree) Name() string      { return string(f.Loss) }
func (ReferenceFree) Scope() engine.Scope { return engine.ScopeUnit }
func (ReferenceFree) Needs() engine.Want  { return engine.Want{} }

// Check refuses settings that name nothing or give no finite loss.
func (f ReferenceFree) Check() error {
	switch {
	case !slices.Contains(FreeLosses, f.Loss):
		return fmt.Errorf("preference loss %q: use %s", f.Loss, list(FreeLosses))
	case !(f.Beta > 0) || math.IsInf(f.Beta, 0):
		return fmt.Errorf("%s: beta is %g: give a positive number", f.Loss, f.Beta)
	case !finite(f.Gamma) || f.Gamma != 0 && f.Loss != SimPO:
		return fmt.Errorf("%s: gamma is %g: it is simpo's target margin, a finite number, and 0 for other losses", f.Loss, f.Gamma)
	case !(f.LabelSmoothing >= 0 && f.LabelSmoothing <= 1):
		return fmt.Errorf("%s: label_smoothing is %g: give the share of labels taken to be swapped, 0 to 1", f.Loss, f.LabelSmoothing)
	}
	return nil
}

// CheckRows implements engine.RowChecker.
func (f ReferenceFree) CheckRows(rows []engine.Row) error {
	if err := f.Check(); err != nil {
		return err
	}
	for i := range rows {
		for t, w := range rows[i].Weight {
			if f.Loss == ORPO && rows[i].Mask[t] && !(w >= 0) {
				return fmt.Errorf("orpo: sequence %s has the weight %g at token %d: odds need a probability, give weights of at least 0", rows[i].Seq.Label(), w, t)
			}
		}
	}
	return checkPairs(f.Name(), rows)
}

func (f ReferenceFree) Eval(views []engine.View, tally *engine.Tally) float64 {
	s := pairPool.Get().(*pairScratch)
	defer pairPool.Put(s)
	s.pair(views)
	for k, at := range s.at {
		v := &views[at]
		s.sides[k] = side{scale: v.Row.Scale, tokens: maskTokens(v.Row.Mask), shared: math.MaxInt}
		c := columns[float32]{row: v.Row, from: v.From, to: v.To, logp: v.LogProb}
		c.read(&s.sides[k])
	}
	loss := 0.0
	for k := 0; k < len(s.sides); k += 2 {
		loss += f.pairLoss(&s.sides[k], &s.sides[k+1], tally)
	}
	for k, at := range s.at {
		v := &views[at]
		c := columns[float32]{row: v.Row, from: v.From, to: v.To, d: v.DLogProb}
		c.add(&s.sides[k])
	}
	return loss
}

// pairLoss returns the loss of one pair and writes its derivatives by the sums of log-probs.
func (f *ReferenceFree) pairLoss(c, r *side, tally *engine.Tally) float64 {
	k, nc, nr := c.scale, 1.0, 1.0
	if f.Loss != CPO {
		nc, nr = c.length(), r.length()
	}
	qc, qr := f.Beta*c.logp/nc, f.Beta*r.logp/nr
	tallyPair(tally, qc, qr)
	m, dc, dr := qc-qr-f.Gamma, f.Beta, f.Beta
	if f.Loss == ORPO {
		ac, ar := c.logp/nc, r.logp/nr
		m = (ac - ar) - (log1mExp(ac) - log1mExp(ar))
		dc, dr = -1/math.Expm1(ac), -1/math.Expm1(ar)
		k *= f.Beta
	}
	value, slope := smoothed(m, f.LabelSmoothing)
	c.dLogp = k * slope * dc / nc
	r.dLogp = -k * slope * dr / nr
	return k * value
}

// log1mExp is log(1 - e^a) for a < 0 (Maechler 2012).
func log1mExp(a float64) float64 {
	if a > -math.Ln2 {
		return math.Log(-math.Expm1(a))
	}
	return math.Log1p(-math.Exp(a))
}
