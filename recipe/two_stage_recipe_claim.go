package recipe

import (
	"fmt"
	"math"
)

// twoStageClaim is the smallest faithful experiment: what the long SFT, the short RL and the base model each contribute.
var twoStageClaim = Claim{
	Says:   "A long SFT raises accuracy; a very short GRPO with format, cosine and group-length rewards then cuts the answers' length and keeps the accuracy.",
	Scale:  "Nano model, sums of three numbers with partial sums and 0-3 redundant checks, 2,000 demonstrations of 64 rows a step: one epoch is 31 steps, ten are 310; 60 steps of 16 problems x 8 answers. Arms differ in cost on purpose: that SFT is long and RL is cheap is the recipe. Token budgets are 16, 32 and 48; a demonstration has 14 to 55, 26 in the middle.",
	Metric: "accuracy",
	Shows:  []string{"length", "accuracy_at_16", "accuracy_at_32", "accuracy_at_48"},
	Common: []string{"model=nano", "eval.problems=500", "eval.budgets=[16,32,48]", "sft.valid=0.05", "sft.valid_every=10"},
	Arms: []Arm{
		{Name: "sft10", Settings: []string{"stages=sft"}},
		{Name: "sft1", Settings: []string{"stages=sft", "sft.steps=31"}},
		{Name: "base_rl", Settings: []string{"stages=rl"}},
		{Name: "sft10_rl", Settings: []string{"stages=both"}},
		{Name: "sft10_rl_cosine", Settings: []string{"stages=both", "rl.reward.length=0"}},
		{Name: "sft10_rl_length", Settings: []string{"stages=both", "rl.reward.cosine=0", "rl.reward.accuracy=1"}},
	},
	A: "sft10_rl", B: "sft10",
	Rule: Rule{
		Text: "reproduced if, over seeds, the paired interval of sft10 - sft1 on accuracy lies above 0, sft10_rl uses at most 80 % of sft10's tokens an answer " +
			"with a mean accuracy at most 2 points lower and a higher one when both may use 16 to 48 tokens, and base_rl is below sft10_rl; contradicted if sft10_rl loses more than 3 points, its answers are not shorter, or sft1 is as accurate as sft10; else undecided",
		Decide: decideTwoStage,
	},
	Grids: []Grid{
		{Kind: "sft", Arm: "sft10", Keys: []string{"sft.lr"}, Values: []string{"5e-4", "1e-3", "2e-3"}},
		{Kind: "rl", Arm: "sft10_rl", Keys: []string{"rl.lr"}, Values: []string{"5e-5", "1e-4", "2e-4"}},
	},
	Learns: []Learns{{Arm: "sft10", Stage: "sft", Kind: "sft"}},
}

// decideTwoStage applies the rule's text; its Difference is sft10_rl - sft10 in accuracy.
func decideTwoStage(t *Table) Decision {
	change, err := t.Paired("sft10_rl", "sft10", "accuracy")
	if err != nil {
		return Decision{Void, change, err.Error()}
	}
	epochs, err := t.Paired("sft10", "sft1", "accuracy")
	if err != nil {
		return Decision{Void, change, err.Error()}
	}
	base, err := t.Paired("sft10_rl", "base_rl", "accuracy")
	if err != nil {
		return Decision{Void, change, err.Error()}
	}
	tokens, err := t.atEqualSpend("sft10_rl", "sft10", againstBudget("accuracy"), againstBudget("accuracy"))
	if err != nil {
		return Decision{Void, change, err.Error()}
	}
	share := t.Mean("sft10_rl", "length").Mean / t.Mean("sft10", "length").Mean
	facts := fmt.Sprintf("ten epochs against one %+.3f [%.3f, %.3f], RL changes accuracy by %+.3f, accuracy at equal tokens by %+.3f [%.3f, %.3f] and length to %.0f %%, and is %+.3f above RL on the base",
		epochs.Mean, epochs.Low, epochs.High, change.Mean, tokens.Mean, tokens.Low, tokens.High, 100*share, base.Mean)
	switch {
	case math.IsNaN(change.Mean + epochs.Mean + base.Mean + share):
		return Decision{Void, change, "accuracy or length was not measured on every seed"}
	case change.Mean < -0.03 || share >= 1 || epochs.Mean <= 0:
		return Decision{Contradicted, change, facts}
	case epochs.Low > 0 && share <= 0.8 && change.Mean >= -0.02 && tokens.Mean > 0 && base.Low > 0:
		return Decision{Reproduced, change, facts}
	}
	return Decision{Undecided, change, facts}
}
