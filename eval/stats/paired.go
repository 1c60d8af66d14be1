package stats

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// Change compares two sets of right and wrong answers to the same problems.
type Change struct {
	Interval             // of the difference of proportions, after minus before
	Gained, Lost int     // problems that became right, and wrong
	P            float64 // McNemar's exact two-sided p-value for "as many gained as lost"
}

// PairedProportions compares answers before and after, where entry i of both speaks of the same problem. The interval is Newcombe's
// hybrid score interval for paired proportions (Statistics in Medicine 17, 2635-2650, 1998, method 10), which holds its level near 0 and 1.
func PairedProportions(before, after []bool) (Change, error) {
	if len(before) != len(after) {
		return Change{Interval: none(), P: math.NaN()}, fmt.Errorf("stats: paired comparison of %d and %d answers: both sides must be scored on the same problems", len(before), len(after))
	}
	var both, gained, lost, neither int
	for i := range before {
		switch {
		case before[i] && after[i]:
			both++
		case after[i]:
			gained++
		case before[i]:
			lost++
		default:
			neither++
		}
	}
	c := Change{Gained: gained, Lost: lost, P: McNemar(gained, lost), Interval: none()}
	if len(before) > 0 {
		c.Interval = newcombe(float64(both), float64(gained), float64(lost), float64(neither))
		c.N = len(before)
	}
	return c, nil
}

// newcombe joins the two Wilson intervals by square-and-add, with the correlation of the two answers.
func newcombe(both, gained, lost, neither float64) Interval {
	n := both + gained + lost + neither
	p1, p2 := (both+gained)/n, (both+lost)/n // after, before
	l1, u1 := wilson(both+gained, n)
	l2, u2 := wilson(both+lost, n)
	var phi float64
	if q := (both + gained) * (lost + neither) * (both + lost) * (gained + neither); q > 0 {
		c := both*neither - gained*lost
		if c > n/2 {
			c -= n / 2
		} else if c > 0 {
			c = 0
		}
		phi = c / math.Sqrt(q)
	}
	width := func(a, b float64) float64 { return math.Sqrt(max(0, a*a-2*phi*a*b+b*b)) }
	d := p1 - p2
	return Interval{Mean: d, Low: d - width(p1-l1, u2-p2), High: d + width(u1-p1, p2-l2)}
}

// McNemar returns the exact two-sided p-value of McNemar's test: whether, of the problems whose verdict changed, as many were gained
// as lost. It is 1 when none changed.
func McNemar(gained, lost int) float64 {
	if gained < 0 || lost < 0 {
		return math.NaN()
	}
	n := gained + lost
	if n == 0 {
		return 1
	}
	return min(1, 2*distuv.Binomial{N: float64(n), P: 0.5}.CDF(float64(min(gained, lost))))
}
