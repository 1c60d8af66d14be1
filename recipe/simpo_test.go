package recipe

import (
	"math"
	"testing"
)

// SimPO's equation 6 and CPO's equation 3 worked out from log-probs.
func TestSimPOLoss(t *testing.T) {
	for _, c := range []struct {
		settings    []string
		beta, gamma float64
		mean        bool
		smooth      float64
		nll         float64
	}{
		{[]string{"beta=2.5", "gamma=1.4"}, 2.5, 1.4, true, 0, 0},
		{[]string{"label_smoothing=0.2"}, 2, 1, true, 0.2, 0},
		{[]string{"loss=cpo", "beta=0.1", "gamma=0", "nll=1"}, 0.1, 0, false, 0, 1},
	} {
		s, streams := lastBatch(t, "simpo", c.settings...)
		rows := streams[0].Rows
		logp, n := answerSums(t, s.Engine, rows)
		pairs, sum, tokens := 0.0, 0.0, 0.0
		for i := 0; i < len(rows); i += 2 {
			chosen, rejected := logp[i], logp[i+1]
			if c.mean {
				chosen, rejected = chosen/n[i], rejected/n[i+1]
			}
			m := c.beta*chosen - c.beta*rejected - c.gamma
			pairs -= ((1-c.smooth)*math.Log(logistic(m)) + c.smooth*math.Log(logistic(-m))) / 4
			sum -= logp[i]
			tokens += n[i]
		}
		stats := lossOf(t, s, streams)
		near(t, "loss of the pairs", stats.Streams[0].Loss, pairs, 1e-9)
		if c.nll > 0 {
			near(t, "likelihood", stats.Streams[1].Loss, c.nll*sum/tokens, 1e-9)
		} else if len(stats.Streams) != 1 {
			t.Errorf("%d streams without a likelihood", len(stats.Streams))
		}
	}
}
