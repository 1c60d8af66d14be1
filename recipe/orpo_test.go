package recipe

import (
	"math"
	"testing"
)

// Equations 6 and 7 worked out from log-probs: likelihood by sequence, and odds of geometric mean probabilities.
func TestORPOLoss(t *testing.T) {
	for _, norm := range []string{"seq_mean", "token_mean"} {
		s, streams := lastBatch(t, "orpo", "beta=0.25", "norm="+norm)
		rows := streams[1].Rows
		logp, n := answerSums(t, s.Engine, rows)
		odds := func(i int) float64 {
			p := math.Exp(logp[i] / n[i])
			return p / (1 - p)
		}
		pairs, bySeq, sum, tokens := 0.0, 0.0, 0.0, 0.0
		for i := 0; i < len(rows); i += 2 {
			pairs -= 0.25 * math.Log(logistic(math.Log(odds(i)/odds(i+1)))) / 4
			bySeq -= logp[i] / n[i] / 4
			sum -= logp[i]
			tokens += n[i]
		}
		want := map[string]float64{"seq_mean": bySeq, "token_mean": sum / tokens}[norm]
		stats := lossOf(t, s, streams)
		near(t, norm+" likelihood", stats.Streams[0].Loss, want, 1e-9)
		near(t, "odds ratio", stats.Streams[1].Loss, pairs, 1e-9)
	}
}
