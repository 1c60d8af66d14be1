package recipe

import (
	"fmt"
	"math"
)

const (
	itoolEasy = "tool_calls?tools=3&levels=1-2"
	itoolHard = "tool_calls?tools=3&level=2"
)

// itoolClaim is the smallest faithful experiment for the nano model: does the search teach more than as much SFT, and than pairs of
// independent samples?
var itoolClaim = Claim{
	Says: "After SFT from easy to hard, iterations of pairs from a search tree over the hardest examples beat SFT of the same compute, mostly by fewer wrong parameter values.",
	Scale: "Nano model; three tools, one call, values copied (level 1) or worked out (level 2, the hard ones), 15 % of requests that cannot be met; 2,000 examples. 300 steps of SFT with 64 rows, " +
		"then two iterations of 600 trees and at most 30 steps of 16 pairs; the long SFT has the steps that cost as much, by an estimate that the rule checks (the scoring of all examples and the nodes of trees that are read again are not counted). Two and three calls, six to twelve tools " +
		"and 4,000 examples would be more than the model learns in two minutes (after 200 steps it has begun to copy names and values: LAB.md). The rate of wrong values is 1 - values, where an answer that cannot be read has none right. Left out: SFT against data size.",
	Metric: itoolHard + "/accuracy",
	Common: []string{"model=nano", "sft.data=" + itoolEasy, "eval.task=" + itoolEasy + "," + itoolHard, "eval.problems=500", "eval.max_tokens=64", "eval.terms=values", "sft.rows=2000", "sft.batch=64", "sft.steps=300",
		"sft.valid=0.05", "sft.valid_every=10", "iterations=2", "search.trees=64", "search.max_tokens=24", "search.answer_tokens=64", "pairs.steps=30"},
	Arms: []Arm{
		{Name: "sft_shuffled", Settings: []string{"iterations=0", "sft.order=shuffled"}},
		{Name: "sft_easy", Settings: []string{"iterations=0"}},
		{Name: "sft_long", Settings: []string{"iterations=0", "sft.steps=332"}},
		{Name: "samples", Settings: []string{"search.by=samples", "search.answers=8"}},
		{Name: "itool"},
	},
	A: "itool", B: "sft_long",
	Rule: Rule{
		Text: "on level 2: reproduced if itool's mean over seeds is at least 2 points above sft_long's and above that of samples, the 95 % paired interval of itool - sft_long lies above 0, and more of itool's values are right; " +
			"contradicted if that interval lies below 0, or itool's mean is not above those of sft_long and of samples; else undecided. Void if sft_long's compute is more than 5 % off itool's",
		Decide: decideITool,
	},
	Grids: []Grid{
		{Kind: "sft", Arm: "sft_easy", Keys: []string{"sft.lr"}, Values: []string{"2e-3", "4e-3", "8e-3"}},
		{Kind: "pairs", Arm: "itool", Keys: []string{"pairs.lr"}, Values: []string{"2e-5", "5e-5", "1e-4"}},
	},
	Learns: []Learns{{Arm: "sft_easy", Stage: "sft", Kind: "sft"}},
}

// decideITool applies the rule's text.
func decideITool(t *Table) Decision {
	gain, err := t.Paired("itool", "sft_long", t.Claim.Metric)
	if err != nil {
		return Decision{Void, gain, err.Error()}
	}
	search, err := t.Paired("itool", "samples", t.Claim.Metric)
	if err != nil {
		return Decision{Void, gain, err.Error()}
	}
	values, err := t.Paired("itool", "sft_long", itoolHard+"/values")
	if err != nil {
		return Decision{Void, gain, err.Error()}
	}
	cost := meanFLOPs(t, "sft_long") / meanFLOPs(t, "itool")
	facts := fmt.Sprintf("itool is %+.3f [%.3f, %.3f] above SFT of %.2f of its compute, %+.3f above pairs of independent samples; %+.3f more of its values are right", gain.Mean, gain.Low, gain.High, cost, search.Mean, values.Mean)
	switch {
	case math.IsNaN(gain.Mean + search.Mean + values.Mean):
		return Decision{Void, gain, "accuracy or values were not measured on every seed"}
	case !(math.Abs(cost-1) <= 0.05):
		return Decision{Void, gain, facts + ": change sft.steps of sft_long"}
	case gain.High < 0 || gain.Mean <= 0 || search.Mean <= 0:
		return Decision{Contradicted, gain, facts}
	case gain.Low > 0 && gain.Mean >= 0.02 && values.Mean > 0:
		return Decision{Reproduced, gain, facts}
	}
	return Decision{Undecided, gain, facts}
}

func meanFLOPs(t *Table, arm string) float64 {
	sum := 0.0
	of := t.Of(arm)
	for _, o := range of {
		sum += o.FLOPs
	}
	return sum / float64(len(of))
}
