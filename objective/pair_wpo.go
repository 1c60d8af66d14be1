package objective

import (
	"fmt"
	"math"

	"github.com/hone-lm/hone/engine"
)

// ChanAligned is the channel of WPO: a_t = lp_t - log sum_v p_v^2 under the policy as it is now, a constant of the step (Zhou et al. 2024,
// equation 2, with its "sampled alignment"). SetAligned fills it from scores with the row term log sum_v p_v^2.
const ChanAligned = "logp_aligned"

// SetAligned fills ChanAligned from scores whose Term is log sum_v p_v^2, minus the Renyi entropy of order 2.
func SetAligned(s *engine.Sequence, sc *engine.Scores) error {
	if len(sc.LogProb) != len(s.Tokens) || len(sc.Term) != len(s.Tokens) {
		return fmt.Errorf("sequence %s: %d tokens, %d log-probs and %d row terms: score it with the row term log sum p^2 first", s.Label(), len(s.Tokens), len(sc.LogProb), len(sc.Term))
	}
	a := s.SetChannel(ChanAligned, nil)
	for t := range a {
		a[t] = sc.LogProb[t] - sc.Term[t]
	}
	return nil
}

// powerSums returns the largest logit, and the sums of e = exp(z - largest) and of e^2.
func powerSums[F float32 | float64](logits []F) (top, one, two float64) {
	top = math.Inf(-1)
	for _, z := range logits {
		top = math.Max(top, float64(z))
	}
	for _, z := range logits {
		e := math.Exp(float64(z) - top)
		one += e
		two += e * e
	}
	return top, one, two
}
