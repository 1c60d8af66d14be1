package recipe

import (
	"fmt"
	"math"
)

// aboveAll decides by the paired interval of a - b on the claim's metric, and asks in addition that a's mean is above that of every other arm:
// where it is not, the paper's statement fails whatever b did.
func aboveAll(t *Table, a, b string, others ...string) Decision {
	d := t.ByInterval(a, b, t.Claim.Metric, 0)
	if d.Verdict == Void {
		return d
	}
	best := t.Mean(a, t.Claim.Metric).Mean
	for _, o := range others {
		if m := t.Mean(o, t.Claim.Metric).Mean; !(best > m) {
			d.Verdict, d.Why = Contradicted, fmt.Sprintf("the mean %s of %s is %.4g, that of %s %.4g", t.Claim.Metric, a, best, o, m)
			return d
		}
	}
	return d
}

// rankCorrelation is Spearman's over the arms; ties share their mean rank.
func rankCorrelation(arms []string, x, y map[string]float64) float64 {
	rank := func(of map[string]float64, arm string) float64 {
		r := 0.0
		for _, a := range arms {
			if of[a] < of[arm] {
				r++
			} else if of[a] == of[arm] && a != arm {
				r += 0.5
			}
		}
		return r
	}
	mean := float64(len(arms)-1) / 2
	xy, xx, yy := 0.0, 0.0, 0.0
	for _, a := range arms {
		p, q := rank(x, a)-mean, rank(y, a)-mean
		xy, xx, yy = xy+p*q, xx+p*p, yy+q*q
	}
	return xy / math.Sqrt(xx*yy)
}
