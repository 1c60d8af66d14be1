package objective

import (
	"fmt"
	"math"

	"github.com/hone-lm/hone/engine"
)

// ChanAligned is the channel of WPO: a_t = lp_t - log sum_v p_v^2 under the policy as it is now, a constant of the step (Zhou et al. 2024,
// equation 2, with its "sampled alignment"). SetAligned fills it from scores with the row term LogSumSquares.
const ChanAligned = "logp_aligned"

// SetAligned fills ChanAligned from the scores of Score(..., engine.Want{Term: LogSumSquares{}}).
func SetAligned(s *engine.Sequence, sc *engine.Scores) error {
	if len(sc.LogProb) != len(s.Tokens) || len(sc.Term) != len(s.Tokens) {
		return fmt.Errorf("sequence %s: %d tokens, %d log-probs and %d row terms: score it with the row term %s first", s.Label(), len(s.Tokens), len(sc.LogProb), len(sc.Term), LogSumSquares{}.Name())
	}
	a := s.SetChannel(ChanAligned, nil)
	for t := range a {
		a[t] = sc.LogProb[t] - sc.Term[t]
	}
	return nil
}

// LogSumSquares is the row term log sum_v p_v^2 = logsumexp(2z) - 2 logsumexp(z) of logits z: minus the order-2 Renyi entropy, in nats.
type LogSumSquares struct{}

func (LogSumSquares) Name() string { return "log_sum_squares" }

// Value implements engine.RowTerm.
func (LogSumSquares) Value(_ *engine.Sequence, _ int, logits []float32) float32 {
	_, one, two := powerSums(logits)
	return float32(math.Log(two) - 2*math.Log(one))
}

// Grad implements engine.RowTerm: d/dz_k = 2 (p_k^2 / sum_v p_v^2 - p_k).
func (LogSumSquares) Grad(_ *engine.Sequence, _ int, logits []float32, weight float32, dLogits []float32) {
	top, one, two := powerSums(logits)
	for k, z := range logits {
		e := math.Exp(float64(z) - top)
		dLogits[k] += float32(float64(weight) * 2 * (e*e/two - e/one))
	}
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
