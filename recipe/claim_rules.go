package recipe

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/hone-lm/hone/eval/stats"
)

// aboveAll decides by the paired interval of a - b on the claim's metric, and asks in addition that a's mean is above that of every other arm
// over the seeds that both have: where it is not, the paper's statement fails whatever b did.
func aboveAll(t *Table, a, b string, others ...string) Decision {
	d := t.ByInterval(a, b, t.Claim.Metric, 0)
	if d.Verdict == Void {
		return d
	}
	for _, o := range others {
		switch lead := t.lead(a, o, t.Claim.Metric); {
		case math.IsNaN(lead):
			d.Verdict, d.Why = Void, fmt.Sprintf("%s of %s was not measured on every seed", t.Claim.Metric, o)
			return d
		case lead <= 0:
			d.Verdict, d.Why = Contradicted, fmt.Sprintf("the mean %s of %s is %+.4g against that of %s", t.Claim.Metric, a, lead, o)
			return d
		}
	}
	return d
}

// lead is how far the mean of a lies above that of b over the seeds that both have, NaN where it is not known: an arm of five seeds and one of
// three are compared on three.
func (t *Table) lead(a, b, metric string) float64 {
	d, err := t.Paired(a, b, metric)
	if err != nil {
		return math.NaN()
	}
	return d.Mean
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

// series reads a curve out of an outcome.
type series func(o *Outcome) stats.Curve

// againstBudget is a metric of the last evaluation against the tokens that an answer may have: accuracy_at_32, accuracy_at_64 (eval.budgets).
func againstBudget(metric string) series {
	return func(o *Outcome) stats.Curve {
		var points []stats.Point
		for name, v := range o.Final {
			if tokens, ok := strings.CutPrefix(name, metric+"_at_"); ok {
				if n, err := strconv.Atoi(tokens); err == nil { // not its interval's ends
					points = append(points, stats.Point{X: float64(n), Y: v})
				}
			}
		}
		return stats.NewCurve(points)
	}
}

// againstTokens is the accuracy of answers that a search picked (eval.searches: vote, plan_cluster), with more and more samples, against the
// tokens that an answer cost.
func againstTokens(search string) series {
	return func(o *Outcome) stats.Curve {
		var points []stats.Point
		for _, name := range slices.Sorted(maps.Keys(o.Final)) { // of points that cost the same the last counts
			if size, ok := strings.CutPrefix(name, "length_"+search+"_"); ok {
				points = append(points, stats.Point{X: o.Final[name], Y: value(o.Final, "accuracy_"+search+"_"+size)})
			}
		}
		return stats.NewCurve(points)
	}
}

// atEqualSpend is how much higher a's curve is than b's on average where both were measured, with its interval over seeds. Over tokens it is the
// comparison at equal tokens, whatever numbers of tokens the arms were measured at.
func (t *Table) atEqualSpend(a, b string, ofA, ofB series) (stats.Interval, error) {
	d, err := t.overSeeds(a, b, func(x, y *Outcome) float64 { return ofA(x).AboveBy(ofB(y)) })
	if err == nil && math.IsNaN(d.Mean) {
		err = fmt.Errorf("%s and %s were not measured over a common range on every seed", a, b)
	}
	return d, err
}

// toMatch is what a spends for the highest accuracy on b's curve as a multiple of what b spends for it, with its interval over seeds; NaN where a
// does not get there on some seed.
func (t *Table) toMatch(a, b string, ofA, ofB series) (stats.Interval, error) {
	return t.overSeeds(a, b, func(x, y *Outcome) float64 {
		reference := ofB(y)
		highest := math.Inf(-1)
		for _, p := range reference {
			highest = max(highest, p.Y)
		}
		return ofA(x).Reaches(highest) / reference.Reaches(highest)
	})
}
