package objective

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/hone-lm/hone/engine"
)

// DPO is direct preference optimisation (Rafailov et al. 2023, equation 7) and its relatives over units of two rows, the chosen one first.
// With token weights w_t, lp_t the policy's log-probs and ref_t those of the channel logp_ref:
//
//	logp = sum_t w_t lp_t, ref = sum_t w_t ref_t, ratio = sum_t w_t (lp_t - ref_t)     of each row
//	score = ratio, or Divergence's function of it;   margin = Beta score(chosen) - Beta score(rejected)
//	loss = sum over Losses of Weight * loss of the pair,   scaled by the chosen row's Scale (norm unit_mean)
//
// The zero value of everything but Beta is plain DPO, loss = -log sigmoid(margin). Results are those of TRL 1.9's DPOTrainer for every
// combination of settings, also where its later versions refuse one. It tallies reward_chosen, reward_rejected and accuracy.
type DPO struct {
	Beta   float64    `yaml:"beta"`
	Losses []PairTerm `yaml:"losses"` // none = sigmoid
	// LabelSmoothing is the assumed share of swapped labels: exo_pair, robust, aot and aot_unpaired read it.
	LabelSmoothing float64 `yaml:"label_smoothing"`
	// Divergence is f-DPO's; apo_zero, aot, aot_unpaired and sft do not read scores. It has a meaning only where the score's constant
	// cancels: in sigmoid, sigmoid_norm, hinge, exo_pair, robust, discopop, and in ipo for answers of equal length.
	Divergence FDivergence `yaml:"f_divergence"`
	Alpha      float64     `yaml:"f_alpha"` // of alpha_divergence; TRL's default is 0.5
	// LDAlpha multiplies the weights of tokens past the length of the shorter answer (LD-DPO, Liu et al. 2024): nil = 1, 0 leaves them out.
	LDAlpha *float64 `yaml:"ld_alpha"`
	Tau     float64  `yaml:"discopop_tau"` // temperature of discopop's blend; 0 = the paper's 0.05
	Delta   float64  `yaml:"delta"`        // bco_pair's reward shift: the running mean of rewards, kept by the recipe; 0 = none
	// WPO multiplies each pair's loss by exp(mean_t a_t) of both answers, a_t from the channel ChanAligned, detached (Zhou et al. 2024,
	// equation 2). Sorted losses (aot) keep the weight of the pair in batch order, which is another than the sorted one.
	WPO bool `yaml:"wpo"`
}

// PairTerm is one loss of a mixture (MPO, Wang et al. 2024).
type PairTerm struct {
	Loss   PairLoss `yaml:"loss"`
	Weight float64  `yaml:"weight"`
}

var sigmoidTerm = []PairTerm{{PairSigmoid, 1}}

func (d *DPO) terms() []PairTerm {
	if len(d.Losses) == 0 {
		return sigmoidTerm
	}
	return d.Losses
}

// Name is dpo, or dpo_ with the losses' names.
func (d DPO) Name() string {
	if len(d.Losses) == 0 {
		return "dpo"
	}
	names := make([]string, len(d.Losses))
	for i, t := range d.Losses {
		names[i] = string(t.Loss)
	}
	return "dpo_" + strings.Join(names, "+")
}

// Scope is the pair; the whole step where a loss sorts over pairs or is a mean over all tokens.
func (d DPO) Scope() engine.Scope {
	for _, t := range d.Losses {
		if t.Loss.batch() {
			return engine.ScopeBatch
		}
	}
	return engine.ScopeUnit
}

func (DPO) Needs() engine.Want { return engine.Want{} }

// Channels implements engine.ChannelReader.
func (d DPO) Channels() []string {
	if d.WPO {
		return []string{engine.ChanRef, ChanAligned}
	}
	return []string{engine.ChanRef}
}

// Check refuses settings that name nothing or give no finite loss.
func (d DPO) Check() error {
	if !(d.Beta > 0) || math.IsInf(d.Beta, 0) {
		return fmt.Errorf("dpo: beta is %g: give a positive number, 0.1 is usual", d.Beta)
	}
	for _, t := range d.terms() {
		switch e := d.LabelSmoothing; {
		case !slices.Contains(PairLosses, t.Loss):
			return fmt.Errorf("dpo: unknown loss %q: use %s", t.Loss, list(PairLosses))
		case !finite(t.Weight):
			return fmt.Errorf("dpo: the weight of loss %s is %g: give a finite number", t.Loss, t.Weight)
		case !(e >= 0 && e <= 1):
			return fmt.Errorf("dpo: label_smoothing is %g: give the share of labels taken to be swapped, 0 to 1", e)
		case t.Loss == PairEXO && (float32(e) == 0 || float32(e) == 1):
			return fmt.Errorf("dpo: exo_pair with label_smoothing %g is infinite: give a number between 0 and 1, 1e-3 is usual", e)
		case t.Loss == PairRobust && e == 0.5:
			return fmt.Errorf("dpo: robust divides by 1 - 2 label_smoothing, which is 0: give less than 0.5")
		}
	}
	if !slices.Contains(FDivergences, d.divergence()) {
		return fmt.Errorf("dpo: unknown f_divergence %q: use %s", d.Divergence, list(FDivergences))
	}
	if a := d.LDAlpha; a != nil && !(*a >= 0 && *a <= 1) {
		return fmt.Errorf("dpo: ld_alpha is %g: give 0 (leave out what is past the shorter answer) to 1 (plain DPO)", *a)
	}
	if !finite(d.Alpha) || !finite(d.Delta) || !(d.Tau >= 0) || math.IsInf(d.Tau, 0) {
		return fmt.Errorf("dpo: f_alpha %g, delta %g, discopop_tau %g: give finite numbers, discopop_tau of at least 0", d.Alpha, d.Delta, d.Tau)
	}
	return nil
}

// CheckRows implements engine.RowChecker.
func (d DPO) CheckRows(rows []engine.Row) error {
	if err := d.Check(); err != nil {
		return err
	}
	return checkPairs("dpo", rows)
}

func (d DPO) Eval(views []engine.View, tally *engine.Tally) float64 {
	s := pairPool.Get().(*pairScratch)
	defer pairPool.Put(s)
	s.pair(views)
	for k, at := range s.at {
		v := &views[at]
		s.sides[k] = side{scale: v.Row.Scale, tokens: maskTokens(v.Row.Mask)}
	}
	d.share(s.sides)
	for k, at := range s.at {
		c := d.columns(&views[at])
		c.read(&s.sides[k])
	}
	loss := d.loss(s, tally)
	for k, at := range s.at {
		c := d.columns(&views[at])
		c.add(&s.sides[k])
	}
	return loss
}

func (d *DPO) columns(v *engine.View) columns[float32] {
	c := columns[float32]{row: v.Row, from: v.From, to: v.To, logp: v.LogProb, ref: channel(v, engine.ChanRef), d: v.DLogProb}
	if d.WPO {
		c.align = channel(v, ChanAligned)
	}
	return c
}

// share writes how many tokens of each side have their full weight, and what the others' is multiplied by.
func (d *DPO) share(sides []side) {
	for k := 0; k < len(sides); k += 2 {
		c, r := &sides[k], &sides[k+1]
		c.shared, c.tail = math.MaxInt, 1
		if d.LDAlpha != nil {
			c.shared, c.tail = min(c.tokens, r.tokens), *d.LDAlpha
		}
		r.shared, r.tail = c.shared, c.tail
	}
}

// loss returns the loss of all pairs and writes the derivatives by what the sides hold.
func (d *DPO) loss(s *pairScratch, tally *engine.Tally) float64 {
	sides := s.sides
	for k := 0; k < len(sides); k += 2 {
		c, r := &sides[k], &sides[k+1]
		for _, x := range []*side{c, r} {
			x.score, x.slope = d.score(x.ratio)
		}
		c.wpo = 1
		if d.WPO {
			c.wpo = math.Exp(c.align/c.length()) * math.Exp(r.align/r.length())
		}
		tallyPair(tally, d.Beta*c.ratio, d.Beta*r.ratio)
	}
	loss := 0.0
	for _, t := range d.terms() {
		switch t.Loss {
		case PairAOT, PairAOTUnpaired:
			loss += d.sorted(t, s)
		case PairSFT:
			loss += d.sft(t, sides)
		default:
			for k := 0; k < len(sides); k += 2 {
				c, r := &sides[k], &sides[k+1]
				loss += d.pairLoss(t.Loss, c.scale*t.Weight*c.wpo, c, r)
			}
		}
	}
	for k := range sides {
		x := &sides[k]
		x.dLogp += x.dScore*x.slope + x.dRatio
	}
	return loss
}

// tallyPair counts a pair's implicit rewards.
func tallyPair(tally *engine.Tally, chosen, rejected float64) {
	accuracy := 0.0
	if chosen-rejected > 0 {
		accuracy = 1
	}
	tally.Add("reward_chosen", chosen, 1)
	tally.Add("reward_rejected", rejected, 1)
	tally.Add("accuracy", accuracy, 1)
}

// checkPairs wants two rows of every unit.
func checkPairs(who string, rows []engine.Row) error {
	units := map[int64]int{}
	for i := range rows {
		units[rows[i].Seq.Unit]++
	}
	for i := range rows {
		if s := rows[i].Seq; s.Unit == 0 || units[s.Unit] != 2 {
			return fmt.Errorf("%s: sequence %s is one of %d in unit %d: give each pair a Unit of its own, the chosen row first", who, s.Label(), units[s.Unit], s.Unit)
		}
	}
	return nil
}

// pairScratch is reused by evaluations, so that a training step allocates nothing.
type pairScratch struct {
	at           []int // [2 pair + 0 chosen, 1 rejected] number of the view
	sides        []side
	unit         map[int64]int // place in at
	order, other []int         // pairs in sorted order
}

var pairPool = sync.Pool{New: func() any { return &pairScratch{unit: map[int64]int{}} }}

// pair finds the two views of every unit, in the order of the units' first views. Engines refuse other units before any arithmetic
// (CheckRows), so one here is a programming error.
func (s *pairScratch) pair(views []engine.View) {
	s.at = s.at[:0]
	clear(s.unit)
	for i := range views {
		u := views[i].Row.Seq.Unit
		k, known := s.unit[u]
		if !known {
			s.unit[u] = len(s.at)
			s.at = append(s.at, i, -1)
			continue
		}
		if s.at[k+1] >= 0 {
			panic(fmt.Sprintf("objective: unit %d has more than the two rows of a pair", u))
		}
		s.at[k+1] = i
	}
	for k, at := range s.at {
		if at < 0 {
			panic(fmt.Sprintf("objective: unit %d has one row of a pair: the chosen one comes first, then the rejected one", views[s.at[k-1]].Row.Seq.Unit))
		}
	}
	s.sides = slices.Grow(s.sides[:0], len(s.at))[:len(s.at)]
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

func list[S ~string](names []S) string {
	text := make([]string, len(names))
	for i, n := range names {
		text[i] = string(n)
	}
	return strings.Join(text, ", ")
}

func maskTokens(mask []bool) int {
	n := 0
	for _, m := range mask {
		if m {
			n++
		}
	}
	return n
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
