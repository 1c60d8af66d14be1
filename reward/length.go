package reward

import (
	"math"
	"strings"
)

// CosineLength is the cosine reward (Yeo et al. 2025, arXiv 2502.03373): a half cosine from 1 at length 0 to 0.1 at limit for a correct answer,
// from -1 to -0.1 for a wrong one, so that a right answer should be short and a wrong one long enough to have tried. Both lengths are in one
// unit; beyond limit the value stays.
//
//	u = (1 + cos(pi min(1, length/limit))) / 2,   correct: 0.1 + 0.9 u,   wrong: -0.1 - 0.9 u
func CosineLength(correct bool, length, limit float64) float64 {
	u := (1 + math.Cos(math.Pi*min(1, length/limit))) / 2
	if correct {
		return 0.1 + 0.9*u
	}
	return -0.1 - 0.9*u
}

// GroupLength is the length reward within a group (Kimi k1.5, arXiv 2501.12599, section 2.3.3): 0.5 for the group's shortest answer, -0.5
// for its longest, in between by length; a wrong answer never gains by being short. 0 for all when the lengths are equal.
//
//	lam_i = 0.5 - (L_i - min L) / (max L - min L),   correct: lam_i,   wrong: min(0, lam_i)
func GroupLength(correct []bool, lengths []float64) []float64 {
	out := make([]float64, len(lengths))
	if len(lengths) == 0 {
		return out
	}
	shortest, longest := lengths[0], lengths[0]
	for _, l := range lengths {
		shortest, longest = min(shortest, l), max(longest, l)
	}
	if shortest == longest {
		return out
	}
	for i, l := range lengths {
		out[i] = 0.5 - (l-shortest)/(longest-shortest)
		if !correct[i] {
			out[i] = min(0, out[i])
		}
	}
	return out
}

// BoxedBefore is 1 for a text with a boxed answer before the first closing tag (such as </think>), else 0.
func BoxedBefore(text, tag string) float64 {
	before, _, closed := strings.Cut(text, tag)
	_, box, boxed := strings.Cut(before, `\boxed{`)
	if closed && boxed && strings.Contains(box, "}") {
		return 1
	}
	return 0
}

// StepsThenAnswer is 1 for a text of the tasks' compact wording with steps, one bar and an answer ("12+3=15;15-4=11|11"), else 0.
func StepsThenAnswer(text string) float64 {
	steps, answer, barred := strings.Cut(text, "|")
	if barred && strings.TrimSpace(steps) != "" && strings.TrimSpace(answer) != "" && !strings.Contains(answer, "|") {
		return 1
	}
	return 0
}
