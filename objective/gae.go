package objective

import (
	"fmt"
	"math"
)

// GAE is generalised advantage estimation (Schulman et al. 2016, equation 16) over one sequence, backwards from its last token:
//
//	delta_t = r_t + gamma V_(t+1) - V_t,   A_t = delta_t + gamma lambda A_(t+1),   return_t = A_t + V_t
//
// values[t] is the value before token t, last the value after the last token: 0 where the episode ended there. Tokens outside the mask
// (tool output, padding) are not steps: they are skipped over, so that V_(t+1) and A_(t+1) are those of the next token in the mask. Their
// own entries repeat that A_(t+1). nil means that every token is a step. All slices are [token].
func GAE(rewards, values []float64, last float64, mask []bool, gamma, lambda float64) (advantages, returns []float64, err error) {
	n := len(rewards)
	if len(values) != n || mask != nil && len(mask) != n {
		return nil, nil, fmt.Errorf("GAE wants a value and a mask for each of %d rewards, got %d values and %d mask entries", n, len(values), len(mask))
	}
	advantages, returns = make([]float64, n), make([]float64, n)
	next, advantage := last, 0.0
	for t := n - 1; t >= 0; t-- {
		if mask == nil || mask[t] {
			advantage = rewards[t] + gamma*next - values[t] + gamma*lambda*advantage
			next = values[t]
		}
		advantages[t], returns[t] = advantage, advantage+values[t]
	}
	return advantages, returns, nil
}

// Discounted returns sum_(k >= t) gamma^(steps from t to k) r_k over one sequence [token]; tokens outside the mask are no steps, their
// rewards do not count, and their entries are 0.
func Discounted(rewards []float64, mask []bool, gamma float64) []float64 {
	out := make([]float64, len(rewards))
	sum := 0.0
	for t := len(rewards) - 1; t >= 0; t-- {
		if mask == nil || mask[t] {
			sum = rewards[t] + gamma*sum
			out[t] = sum
		}
	}
	return out
}

// Whiten shifts and scales x [row][token] in place so that the tokens of the mask have mean 0 and variance 1 (divisor n-1, 1e-8 added to
// the variance). Tokens outside the mask are shifted and scaled too. Fewer than two tokens in the mask are an error.
func Whiten(x [][]float64, mask [][]bool) error { return whiten(x, mask, 0) }

// whiten is Whiten with countEps added to the number of tokens by which sums are divided.
func whiten(x [][]float64, mask [][]bool, countEps float64) error {
	sum, n := 0.0, 0.0
	each := func(fn func(x *float64)) {
		for i, row := range x {
			for t := range row {
				if mask[i][t] {
					fn(&row[t])
				}
			}
		}
	}
	each(func(x *float64) { sum += *x; n++ })
	if n < 2 {
		return fmt.Errorf("whitening needs at least two tokens in the mask, got %g: raise the batch size", n)
	}
	mean, square := sum/(n+countEps), 0.0
	each(func(x *float64) { square += (*x - mean) * (*x - mean) })
	variance := square / (n + countEps) * (n / (n - 1))
	scale := 1 / math.Sqrt(variance+1e-8)
	for _, row := range x {
		for t := range row {
			row[t] = (row[t] - mean) * scale
		}
	}
	return nil
}

// ShapeKL takes coef times the estimate of KL(policy || reference) off the reward of every token in the mask: the penalty of PPO for
// language models (Ziegler et al. 2019, equation 2). All slices are [token]; rewards change in place.
func ShapeKL(rewards []float64, logProb, ref []float32, mask []bool, e KLEstimator, coef float64) error {
	if len(logProb) != len(rewards) || len(ref) != len(rewards) || len(mask) != len(rewards) {
		return fmt.Errorf("the KL penalty wants a log-prob, a reference and a mask entry for each of %d rewards, got %d, %d and %d", len(rewards), len(logProb), len(ref), len(mask))
	}
	for t := range rewards {
		if mask[t] {
			kl, _ := e.Value(float64(logProb[t]), float64(ref[t]))
			rewards[t] -= coef * kl
		}
	}
	return nil
}
