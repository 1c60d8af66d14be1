// Package stats has the few statistics that evaluation reports need: intervals for proportions and means, paired comparisons over
// problems, pass@k and a seeded bootstrap. Everything is float64; every interval is two-sided at 95 %.
//
// Sums are plain loops on purpose: gonum's assembly sums in an order that depends on how the slice happens to be aligned, and
// results of this package reach metrics.jsonl, which has to be the same bytes in every run.
package stats

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"

	"github.com/hone-lm/hone/internal/rng"
)

// z is the 97.5 % quantile of the standard normal distribution.
const z = 1.959963984540054

// Interval is an estimate with its 95 % interval. N is the number of observations; with none, the estimate and both ends are NaN.
type Interval struct {
	Mean, Low, High float64
	N               int
}

// Half returns half the width of the interval.
func (i Interval) Half() float64 { return (i.High - i.Low) / 2 }

// none is the interval of no observations.
func none() Interval { return Interval{Mean: math.NaN(), Low: math.NaN(), High: math.NaN()} }

// Mean returns the arithmetic mean, NaN for no values.
func Mean(x []float64) float64 {
	var sum float64
	for _, v := range x {
		sum += v
	}
	return sum / float64(len(x))
}

// Variance returns the unbiased sample variance (divisor n-1), NaN for fewer than two values.
func Variance(x []float64) float64 {
	if len(x) < 2 {
		return math.NaN()
	}
	mean := Mean(x)
	var sum float64
	for _, v := range x {
		sum += (v - mean) * (v - mean)
	}
	return sum / float64(len(x)-1)
}

// Wilson returns the score interval of a proportion of successes in n trials (Wilson 1927), without continuity correction.
// It stays within [0, 1] and is honest near both ends, where mean plus or minus two standard errors is not.
func Wilson(successes, n int) Interval {
	if n <= 0 || successes < 0 || successes > n {
		return none()
	}
	low, high := wilson(float64(successes), float64(n))
	return Interval{Mean: float64(successes) / float64(n), Low: low, High: high, N: n}
}

func wilson(successes, n float64) (low, high float64) {
	p := successes / n
	mid := (p + z*z/(2*n)) / (1 + z*z/n)
	half := z / (1 + z*z/n) * math.Sqrt(p*(1-p)/n+z*z/(4*n*n))
	low, high = mid-half, mid+half
	if successes == 0 { // exact ends, where rounding would leave 1e-17
		low = 0
	}
	if successes == n {
		high = 1
	}
	return low, high
}

// TInterval returns Student's interval for the mean of x. With one value, or with values that are all equal, its ends are the mean itself.
func TInterval(x []float64) Interval {
	if len(x) == 0 {
		return none()
	}
	mean := Mean(x)
	if len(x) == 1 {
		return Interval{Mean: mean, Low: mean, High: mean, N: 1}
	}
	t := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: float64(len(x) - 1)}.Quantile(0.975)
	half := t * math.Sqrt(Variance(x)/float64(len(x)))
	return Interval{Mean: mean, Low: mean - half, High: mean + half, N: len(x)}
}

// PairedT returns Student's interval for the mean of after[i]-before[i], where entry i of both slices speaks of the same problem.
func PairedT(before, after []float64) (Interval, error) {
	d, err := differences(before, after)
	if err != nil {
		return none(), err
	}
	return TInterval(d), nil
}

// PairedBootstrap is PairedT by resampling problems, for scores that are far from normal.
func PairedBootstrap(before, after []float64, draws int, key rng.Key) (Interval, error) {
	d, err := differences(before, after)
	if err != nil {
		return none(), err
	}
	return Bootstrap(d, Mean, draws, key), nil
}

func differences(before, after []float64) ([]float64, error) {
	if len(before) != len(after) {
		return nil, fmt.Errorf("stats: paired comparison of %d and %d values: both sides must be scored on the same problems", len(before), len(after))
	}
	d := make([]float64, len(after))
	for i := range d {
		d[i] = after[i] - before[i]
	}
	return d, nil
}

// Bootstrap returns statistic(x) with its percentile interval (Efron 1979) from the given number of resamples (1000 or more is usual).
// Draw i of resample r is element key.With(r).Intn(i, len(x)), so the result is a function of the arguments alone.
func Bootstrap(x []float64, statistic func([]float64) float64, draws int, key rng.Key) Interval {
	if len(x) == 0 || draws <= 0 {
		return none()
	}
	values := make([]float64, draws)
	sample := make([]float64, len(x))
	for r := range values {
		k := key.With(uint64(r))
		for i := range sample {
			sample[i] = x[k.Intn(uint64(i), len(x))]
		}
		values[r] = statistic(sample)
	}
	slices.Sort(values)
	return Interval{
		Mean: statistic(x),
		Low:  stat.Quantile(0.025, stat.Empirical, values, nil),
		High: stat.Quantile(0.975, stat.Empirical, values, nil),
		N:    len(x),
	}
}

// PassAtK returns the unbiased estimate of the probability that at least one of k samples is correct, from n samples of which
// correct were: 1 - C(n-correct, k)/C(n, k) (Chen et al. 2021, arXiv 2107.03374). It is NaN unless 0 <= correct <= n and 1 <= k <= n.
func PassAtK(n, correct, k int) float64 {
	if k < 1 || k > n || correct < 0 || correct > n {
		return math.NaN()
	}
	fail := 1.0
	for i := n - correct + 1; i <= n; i++ {
		fail *= 1 - float64(k)/float64(i)
		if fail <= 0 { // fewer than k failures: every choice of k holds a success
			return 1
		}
	}
	return 1 - fail
}

// MeanPassAtK returns the mean of PassAtK over problems with its t interval over problems; n and correct have one entry a problem.
func MeanPassAtK(n, correct []int, k int) (Interval, error) {
	if len(n) != len(correct) {
		return none(), fmt.Errorf("stats: pass@%d of %d sample counts and %d counts of correct samples: they must speak of the same problems", k, len(n), len(correct))
	}
	p := make([]float64, len(n))
	for i := range p {
		p[i] = PassAtK(n[i], correct[i], k)
		if math.IsNaN(p[i]) {
			return none(), fmt.Errorf("stats: pass@%d of problem %d with %d samples, %d correct: it needs at least %d samples and 0 <= correct <= samples", k, i, n[i], correct[i], k)
		}
	}
	return TInterval(p), nil
}
