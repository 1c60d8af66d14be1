package objective

import (
	"fmt"
	"math"
	"slices"

	"github.com/hone-lm/hone/engine"
)

// WeightLevel says of which part of a sequence an importance weight of a token is made.
type WeightLevel string

const (
	WeightSequence WeightLevel = "sequence" // all of it, the same for every token
	WeightBlock    WeightLevel = "block"    // the blocks behind the token's own
	WeightToken    WeightLevel = "token"    // the tokens behind it: blocks of one token
)

// WeightLevels lists every level, for help and validation.
var WeightLevels = []WeightLevel{WeightSequence, WeightBlock, WeightToken}

// ImportanceWeighted is cross-entropy on tokens that another policy wrote, weighted by how likely the policy is to write them, relative to the
// other one (importance sampling, as in off-policy evaluation; Precup, Sutton and Singh 2000). The weights are held constant:
//
//	loss = -sum w_t G_t p_t^Power lp_t,   d_t = clip(lp_t - logp_old_t, Low, High)
//	sequence: log G_t = sum_j d_j;   block: log G_t = (T - e) log Gamma + sum_{j > e} d_j, e the last token of the block that holds t
//
// t, j and e count the T tokens of the mask, so that prompt and padding are not there; log G_t is clipped to [LogMin, LogMax]. It reads the
// channel logp_old and tallies weight, the same by quarters of the sequence (weight_1 ... weight_4), log_ratio (not clipped) and
// log_ratio_clipped (the share that is).
type ImportanceWeighted struct {
	Level          WeightLevel
	Block          int     // tokens of a block
	Gamma          float64 // discount for every token behind
	Low, High      float64 // bounds of a token's log-ratio
	LogMin, LogMax float64 // bounds of the logarithm of a weight
	Center         bool    // the sequence's mean log-ratio is taken off before clipping
	MeanOne        bool    // weights are divided by their mean over the step
	Shuffle        bool    // weights are dealt out anew among all tokens of the step, by Key: the same numbers without their meaning
	Key            engine.Key
	Power          float64 // of the token's own probability; 0 = 1 for every token
}

func (o ImportanceWeighted) Name() string {
	if o.Shuffle {
		return "shuffled_" + string(o.Level) + "_weighted"
	}
	return string(o.Level) + "_weighted"
}

// Scope is the batch for what looks at all weights of the step.
func (o ImportanceWeighted) Scope() engine.Scope {
	if o.MeanOne || o.Shuffle {
		return engine.ScopeBatch
	}
	return engine.ScopeSequence
}

func (ImportanceWeighted) Needs() engine.Want { return engine.Want{} }
func (ImportanceWeighted) Channels() []string { return []string{engine.ChanOld} }
func (ImportanceWeighted) Holds() bool        { return true }

// CheckRows implements engine.RowChecker.
func (o ImportanceWeighted) CheckRows([]engine.Row) error {
	switch {
	case !slices.Contains(WeightLevels, o.Level):
		return fmt.Errorf("unknown weight level %q: use one of %v", o.Level, WeightLevels)
	case o.Level == WeightBlock && o.Block < 1:
		return fmt.Errorf("blocks of %d tokens: want at least one", o.Block)
	case !(o.Gamma > 0 && o.Gamma <= 1):
		return fmt.Errorf("the discount is %g, which must lie in (0, 1]", o.Gamma)
	case !(o.Low <= o.High) || math.IsInf(o.Low, 0) || math.IsInf(o.High, 0):
		return fmt.Errorf("log-ratios are bounded to [%g, %g]: want finite bounds, the lower one first", o.Low, o.High)
	case !(o.LogMin <= o.LogMax) || math.IsInf(o.LogMin, 0) || math.IsInf(o.LogMax, 0):
		return fmt.Errorf("log-weights are bounded to [%g, %g]: want finite bounds, the lower one first", o.LogMin, o.LogMax)
	}
	return nil
}

func (o ImportanceWeighted) Eval(views []engine.View, tally *engine.Tally) float64 {
	return o.EvalHeld(views, views, tally)
}

func (o ImportanceWeighted) EvalHeld(views, held []engine.View, tally *engine.Tally) float64 {
	var room [512]float64 // longer sequences allocate
	weights := o.weights(room[:0], held, tally)
	loss := 0.0
	eachToken(views, func(v *engine.View, t, number int) {
		w := weightAt(v, t) * v.Row.Scale * weights[number]
		loss -= w * logProbs(v).at(t)
		v.DLogProb[t-v.From] -= w
	})
	return loss
}

// weights appends the factor of every masked token, in the order of eachToken.
func (o ImportanceWeighted) weights(out []float64, views []engine.View, tally *engine.Tally) []float64 {
	for i := range views {
		out = o.appendWeights(out, &views[i], tally)
	}
	if o.Shuffle {
		dealt := make([]float64, len(out))
		for k, from := range o.Key.Perm(len(out)) {
			dealt[k] = out[from]
		}
		out = dealt
	}
	if o.MeanOne {
		sum := 0.0
		for _, g := range out {
			sum += g
		}
		for k := range out {
			out[k] *= float64(len(out)) / sum
		}
	}
	eachToken(views, func(v *engine.View, t, number int) {
		tally.Add("weight", out[number], 1)
		if o.Power != 0 {
			out[number] *= math.Exp(o.Power * logProbs(v).at(t))
		}
	})
	return out
}

// appendWeights appends the weights of one sequence.
func (o ImportanceWeighted) appendWeights(out []float64, v *engine.View, tally *engine.Tally) []float64 {
	from := len(out)
	lp, old := logProbs(v), constants(v, engine.ChanOld)
	for t := v.From; t < v.To; t++ {
		if v.Row.Mask[t] {
			out = append(out, lp.at(t)-old.at(t))
		}
	}
	g := out[from:]
	o.clipRatios(g, tally)
	o.accumulate(g)
	for k := range g {
		g[k] = math.Exp(clamp(g[k], o.LogMin, o.LogMax))
		tally.Add(quarters[(4*k+3)/len(g)], g[k], 1)
	}
	return out
}

// quarters name the parts of a sequence in which weights are tallied, the last token always in the fourth: when only the end has any, the method teaches the ends of answers.
var quarters = [4]string{"weight_1", "weight_2", "weight_3", "weight_4"}

func (o ImportanceWeighted) clipRatios(d []float64, tally *engine.Tally) {
	mean := 0.0
	if o.Center {
		for _, x := range d {
			mean += x / float64(len(d))
		}
	}
	for k, x := range d {
		d[k] = clamp(x-mean, o.Low, o.High)
		clipped := 0.0
		if d[k] != x-mean {
			clipped = 1
		}
		tally.Add("log_ratio", x, 1)
		tally.Add("log_ratio_clipped", clipped, 1)
	}
}

// accumulate turns clipped log-ratios into log-weights, in place.
func (o ImportanceWeighted) accumulate(d []float64) {
	if o.Level == WeightSequence {
		sum := 0.0
		for _, x := range d {
			sum += x
		}
		for k := range d {
			d[k] = sum
		}
		return
	}
	block := 1
	if o.Level == WeightBlock {
		block = o.Block
	}
	behind := 0.0 // sum over the blocks behind
	for first := (len(d) - 1) / block * block; first >= 0 && len(d) > 0; first -= block {
		end, own := min(first+block, len(d)), 0.0
		for k := first; k < end; k++ {
			own += d[k]
			d[k] = behind + float64(len(d)-end)*math.Log(o.Gamma)
		}
		behind += own
	}
}
