package recipe

import "fmt"

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
