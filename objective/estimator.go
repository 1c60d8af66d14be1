package objective

import (
	"fmt"
	"math"
	"slices"
)

// Estimator names a way from rewards to an advantage for every token of a batch.
//
// Outcome estimators add up a row's rewards to its score R, compare it with the scores of its group, and give the result to every token of
// the mask. In a group of one the mean is 0 and the deviation 1, as in verl.
type Estimator string

const (
	EstGAE               Estimator = "gae"                          // GAE with the value 0 after the last token, whitened over the batch (PPO, Schulman et al. 2017)
	EstGRPO              Estimator = "grpo"                         // (R - mean)/(s + Eps), s with divisor n-1 (Shao et al. 2024)
	EstDrGRPO            Estimator = "dr_grpo"                      // R - mean (Liu et al. 2025)
	EstRLOO              Estimator = "rloo"                         // R - mean of the others; R in a group of one (Ahmadian et al. 2024)
	EstOPO               Estimator = "opo"                          // R - mean weighted by length, in tokens of the mask (Hao et al. 2025, arXiv 2505.23585)
	EstReinforcePP       Estimator = "reinforce_plus_plus"          // discounted returns, whitened over the batch (Hu 2025, arXiv 2501.03262)
	EstReinforcePPGroups Estimator = "reinforce_plus_plus_baseline" // R - mean, whitened over the batch
	EstReMax             Estimator = "remax"                        // return - reward of the greedy answer (Li et al. 2023, arXiv 2310.10505)
	EstGPG               Estimator = "gpg"                          // (R - mean) * rows / rows whose score is not 0 (Chu et al. 2025)
	EstPassK             Estimator = "grpo_passk"                   // (R - second best)/(s + Eps) for the best of a group, 0 for the others (arXiv 2503.19595)
)

// Estimators lists every estimator, for help and validation.
var Estimators = []Estimator{EstGAE, EstGRPO, EstDrGRPO, EstRLOO, EstOPO, EstReinforcePP, EstReinforcePPGroups, EstReMax, EstGPG, EstPassK}

// TokenRewards is a batch of scored samples. Rows may differ in length; all of a row's slices are as long as its rewards.
type TokenRewards struct {
	Rewards  [][]float64 // [row][token]; an outcome's reward stands on one of the tokens
	Mask     [][]bool    // [row][token]: sampled tokens
	Group    []string    // [row]: rows of one group answer the same problem
	Values   [][]float64 // [row][token], gae: value before the token
	Baseline []float64   // [row], remax: reward of the greedy answer
}

// EstimatorParams are the settings of estimators that have any.
type EstimatorParams struct {
	Gamma    float64 // gae, reinforce_plus_plus: discount a token
	Lambda   float64 // gae
	Eps      float64 // grpo, grpo_passk: added to the deviation
	NoStd    bool    // grpo_passk: do not divide by the deviation
	NoWhiten bool    // gae, reinforce_plus_plus, reinforce_plus_plus_baseline: leave advantages as they are
	// CountEps is added to the number of tokens where advantages are whitened. verl adds 1e-8, which leaves equal returns R with an
	// advantage of about 1e-4 R/tokens; 0 makes them 0.
	CountEps float64
}

// Whitens reports whether an estimator whitens its advantages over the batch.
func (e Estimator) Whitens() bool {
	return e == EstGAE || e == EstReinforcePP || e == EstReinforcePPGroups
}

// Advantages returns advantages and returns [row][token]. Whitening moves tokens outside the mask too: they are set to 0 for all
// estimators but gae.
func (e Estimator) Advantages(b *TokenRewards, p EstimatorParams) (advantages, returns [][]float64, err error) {
	if err := b.check(e); err != nil {
		return nil, nil, err
	}
	switch e {
	case EstGAE:
		return b.gae(p)
	case EstReinforcePP:
		for i, r := range b.Rewards {
			advantages, returns = append(advantages, Discounted(r, b.Mask[i], p.Gamma)), append(returns, Discounted(r, b.Mask[i], p.Gamma))
		}
		err = b.whiten(advantages, p)
	case EstReMax:
		for i, r := range b.Rewards {
			ret := remaining(r, b.Mask[i])
			adv := slices.Clone(ret)
			for t, m := range b.Mask[i] {
				if m {
					adv[t] -= b.Baseline[i]
				}
			}
			advantages, returns = append(advantages, adv), append(returns, ret)
		}
	default:
		scores, err := b.outcome(e, p)
		if err != nil {
			return nil, nil, err
		}
		advantages = b.spread(scores)
		if e == EstReinforcePPGroups {
			err = b.whiten(advantages, p)
		}
		return advantages, advantages, err
	}
	return advantages, returns, err
}

func (b *TokenRewards) gae(p EstimatorParams) (advantages, returns [][]float64, err error) {
	for i, r := range b.Rewards {
		a, ret, err := GAE(r, b.Values[i], 0, b.Mask[i], p.Gamma, p.Lambda)
		if err != nil {
			return nil, nil, fmt.Errorf("row %d: %w", i, err)
		}
		advantages, returns = append(advantages, a), append(returns, ret)
	}
	if p.NoWhiten {
		return advantages, returns, nil
	}
	return advantages, returns, whiten(advantages, b.Mask, p.CountEps)
}

// outcome returns each row's advantage from the scores of its group.
func (b *TokenRewards) outcome(e Estimator, p EstimatorParams) ([]float64, error) {
	scores, lengths := make([]float64, len(b.Rewards)), make([]float64, len(b.Rewards))
	scored := 0.0
	for i, r := range b.Rewards {
		for t := range r {
			scores[i] += r[t]
			if b.Mask[i][t] {
				lengths[i]++
			}
		}
		if scores[i] != 0 {
			scored++
		}
	}
	out := make([]float64, len(scores))
	for _, rows := range b.groups() {
		of := make([]float64, len(rows))
		for k, i := range rows {
			of[k] = scores[i]
		}
		var adv []float64
		var err error
		switch e {
		case EstGRPO:
			adv, err = groupOf(MeanStd, of, p.Eps)
		case EstDrGRPO, EstReinforcePPGroups, EstGPG:
			adv, err = groupOf(MeanOnly, of, 0)
		case EstRLOO:
			adv, err = groupOf(LeaveOneOut, of, 0)
		case EstOPO:
			adv = lengthWeighted(of, rows, lengths)
		case EstPassK:
			adv, err = passK(of, p)
		default:
			err = fmt.Errorf("unknown advantage estimator %q: use one of %v", e, Estimators)
		}
		if err != nil {
			return nil, fmt.Errorf("group %s: %w", b.Group[rows[0]], err)
		}
		for k, i := range rows {
			out[i] = adv[k]
			if e == EstGPG {
				out[i] *= float64(len(scores)) / math.Max(scored, 1)
			}
		}
	}
	return out, nil
}

// groupOf is GroupAdvantage.Of with the mean 0 and the deviation 1 in a group of one.
func groupOf(kind GroupAdvantage, scores []float64, eps float64) ([]float64, error) {
	if len(scores) > 1 {
		return kind.Of(scores, eps)
	}
	if kind == MeanStd {
		return []float64{scores[0] / (1 + eps)}, nil
	}
	return []float64{scores[0]}, nil
}

func lengthWeighted(scores []float64, rows []int, lengths []float64) []float64 {
	out := slices.Clone(scores)
	if len(scores) == 1 {
		return out
	}
	sum, tokens := 0.0, 0.0
	for k, i := range rows {
		sum += lengths[i] * scores[k]
		tokens += lengths[i]
	}
	for k := range out {
		out[k] -= sum / tokens
	}
	return out
}

func passK(scores []float64, p EstimatorParams) ([]float64, error) {
	if len(scores) < 2 {
		return nil, fmt.Errorf("pass@k compares the best answer with the second best: give each group at least two rows")
	}
	best, second := 0, -1
	for i := 1; i < len(scores); i++ {
		switch {
		case scores[i] > scores[best]:
			best, second = i, best
		case second < 0 || scores[i] > scores[second]:
			second = i
		}
	}
	out := make([]float64, len(scores))
	out[best] = scores[best] - scores[second]
	if p.NoStd || allEqual(scores) {
		return out, nil
	}
	mean, square := 0.0, 0.0
	for _, s := range scores {
		mean += s / float64(len(scores))
	}
	for _, s := range scores {
		square += (s - mean) * (s - mean)
	}
	out[best] /= math.Sqrt(square/float64(len(scores)-1)) + p.Eps
	return out, nil
}

// groups returns the rows of each group, groups in the order of their first row.
func (b *TokenRewards) groups() [][]int {
	var out [][]int
	at := map[string]int{}
	for i, g := range b.Group {
		k, ok := at[g]
		if !ok {
			k = len(out)
			at[g] = k
			out = append(out, nil)
		}
		out[k] = append(out[k], i)
	}
	return out
}

// spread gives a row's value to every token of its mask, and 0 to the others.
func (b *TokenRewards) spread(scores []float64) [][]float64 {
	out := make([][]float64, len(scores))
	for i, s := range scores {
		out[i] = make([]float64, len(b.Mask[i]))
		for t, m := range b.Mask[i] {
			if m {
				out[i][t] = s
			}
		}
	}
	return out
}

// whiten sets tokens outside the mask to 0 after whitening.
func (b *TokenRewards) whiten(x [][]float64, p EstimatorParams) error {
	if p.NoWhiten {
		return nil
	}
	if err := whiten(x, b.Mask, p.CountEps); err != nil {
		return err
	}
	for i, row := range x {
		for t := range row {
			if !b.Mask[i][t] {
				row[t] = 0
			}
		}
	}
	return nil
}

// remaining returns the sum of the rewards from t on; rewards outside the mask do not count.
func remaining(rewards []float64, mask []bool) []float64 {
	out := make([]float64, len(rewards))
	sum := 0.0
	for t := len(rewards) - 1; t >= 0; t-- {
		if mask[t] {
			sum += rewards[t]
		}
		out[t] = sum
	}
	return out
}

func (b *TokenRewards) check(e Estimator) error {
	n := len(b.Rewards)
	if !slices.Contains(Estimators, e) {
		return fmt.Errorf("unknown advantage estimator %q: use one of %v", e, Estimators)
	}
	grouped := e != EstGAE && e != EstReinforcePP && e != EstReMax
	switch {
	case len(b.Mask) != n:
		return fmt.Errorf("%d rows of rewards but %d masks: give one a row", n, len(b.Mask))
	case grouped && len(b.Group) != n:
		return fmt.Errorf("advantage %s compares rows of a group: %d rows of rewards but %d group names", e, n, len(b.Group))
	case e == EstGAE && len(b.Values) != n:
		return fmt.Errorf("advantage gae needs values: %d rows of rewards but %d of values", n, len(b.Values))
	case e == EstReMax && len(b.Baseline) != n:
		return fmt.Errorf("advantage remax needs the greedy answers' rewards: %d rows of rewards but %d baselines", n, len(b.Baseline))
	}
	for i, r := range b.Rewards {
		if len(b.Mask[i]) != len(r) {
			return fmt.Errorf("row %d has %d rewards and %d mask entries", i, len(r), len(b.Mask[i]))
		}
	}
	return nil
}
