package objective

import (
	"fmt"
	"math"
)

// GroupAdvantage says how the rewards of a group become advantages.
type GroupAdvantage string

const (
	MeanStd     GroupAdvantage = "mean_std"      // (r - mean) / (s + 1e-6), s with divisor n-1 (GRPO, Shao et al. 2024, as TRL and verl compute it)
	MeanStdPop  GroupAdvantage = "mean_std_pop"  // the same with divisor n
	MeanOnly    GroupAdvantage = "mean_only"     // r - mean (Dr. GRPO, Liu et al. 2025)
	LeaveOneOut GroupAdvantage = "leave_one_out" // r - mean of the others (RLOO, Ahmadian et al. 2024)
)

// GroupAdvantages lists every estimator, for help and validation.
var GroupAdvantages = []GroupAdvantage{MeanStd, MeanStdPop, MeanOnly, LeaveOneOut}

// AdvantageEps is added to the deviation where a method does not say otherwise.
const AdvantageEps = 1e-6

// Of returns the advantages of one group's rewards, in their order. It wants at least two rewards; eps is added to the deviation.
func (g GroupAdvantage) Of(rewards []float64, eps float64) ([]float64, error) {
	n := float64(len(rewards))
	if n < 2 {
		return nil, fmt.Errorf("advantage %s needs at least two rewards in a group, got %d: raise the group size or use an absolute baseline", g, len(rewards))
	}
	if allEqual(rewards) {
		return make([]float64, len(rewards)), nil // exactly zero, whatever the rounding of the mean
	}
	mean := 0.0
	for _, r := range rewards {
		mean += r
	}
	mean /= n
	square := 0.0
	for _, r := range rewards {
		square += (r - mean) * (r - mean)
	}
	out := make([]float64, len(rewards))
	for i, r := range rewards {
		switch g {
		case MeanStd:
			out[i] = (r - mean) / (math.Sqrt(square/(n-1)) + eps)
		case MeanStdPop:
			out[i] = (r - mean) / (math.Sqrt(square/n) + eps)
		case MeanOnly:
			out[i] = r - mean
		case LeaveOneOut:
			out[i] = (r - mean) * n / (n - 1)
		default:
			return nil, fmt.Errorf("unknown advantage %q: use one of %v", g, GroupAdvantages)
		}
	}
	return out, nil
}

func allEqual(x []float64) bool {
	for _, v := range x {
		if v != x[0] {
			return false
		}
	}
	return true
}
