package recipe

import (
	"fmt"
	"math"
)

// curioClaim is the smallest faithful experiment.
var curioClaim = &Claim{
	Says: "SFT with a pull towards the model's own heated copy keeps more entropy than SFT without losing accuracy, and the same GRPO then ends higher; a plain entropy bonus does not do that.",
	Scale: "nano on countdown with three numbers, 2,000 demonstrations in one form; warm-up 50 and 150 updates of 32 rows, then 100 steps of GRPO with 16 problems x 8 answers, the same for every arm. " +
		"Three seeds, five for the deciding pair. Entropies and pass@8 come from answers drawn at temperature 1 (paper: 0.6) to 200 of the problems. Out-of-distribution tasks are not measured.",
	Metric: "accuracy", Budget: Budget{Unit: Updates},
	Common: []string{"model=nano", "eval.problems=500", "eval.pass_at=8", "eval.pass_problems=200", "warmup.steps=50", "sft.steps=150", "sft.rows=2000", "sft.batch=32", "sft.valid=0.05", "sft.valid_every=10",
		"grpo.steps=100", "grpo.problems=16", "grpo.group_size=8"},
	Arms: []Arm{
		{Name: "sft", Settings: []string{"sft.alpha=0"}},
		{Name: "entropy bonus", Settings: []string{"sft.alpha=0", "sft.entropy=0.1"}},
		{Name: "entropy bonus, top 20 %", Settings: []string{"sft.alpha=0", "sft.entropy=0.1", "sft.entropy_top=0.2"}},
		{Name: "curiosft"},
		{Name: "fixed temperature", Settings: []string{"sft.tau=1.3"}}},
	A: "curiosft", B: "sft",
	Rule: Rule{
		Text: "curiosft - sft, 95 % paired t-intervals over seeds: reproduced if after the SFT stage its entropy lies above and its accuracy not below 0, and after GRPO its accuracy lies above 0 and its mean above that of both entropy bonuses; " +
			"contradicted if its entropy lies above 0 but its accuracy after GRPO is not above sft's on any seed, or if an entropy bonus has at least its mean accuracy after GRPO; else undecided",
		Decide: decideCurio,
	},
	Grids: []Grid{
		{Kind: "sft", Arm: "sft", Keys: []string{"warmup.lr", "sft.lr"}, Values: []string{"5e-4", "1e-3", "2e-3"}},
		{Kind: "rl", Arm: "sft", Keys: []string{"grpo.lr"}, Values: []string{"1e-4", "2e-4", "4e-4"}}},
	Learns: []Learns{{Arm: "sft", Stage: "sft", Kind: "sft"}, {Arm: "sft", Stage: "grpo", Kind: "rl"}},
}

// decideCurio applies the rule's text; its Difference is the one after GRPO.
func decideCurio(t *Table) Decision {
	after, err := t.Paired("curiosft", "sft", "accuracy")
	if err != nil {
		return Decision{Void, after, err.Error()}
	}
	entropy, err := t.PairedBefore("curiosft", "sft", "entropy")
	if err != nil {
		return Decision{Void, after, err.Error()}
	}
	before, err := t.PairedBefore("curiosft", "sft", "accuracy")
	if err != nil {
		return Decision{Void, after, err.Error()}
	}
	bonus := min(t.lead("curiosft", "entropy bonus", "accuracy"), t.lead("curiosft", "entropy bonus, top 20 %", "accuracy"))
	facts := fmt.Sprintf("after SFT curiosft - sft is %+.3f [%.3f, %.3f] in nats and %+.3f [%.3f, %.3f] in accuracy, after GRPO %+.3f [%.3f, %.3f]; it ends %+.3f above the better entropy bonus",
		entropy.Mean, entropy.Low, entropy.High, before.Mean, before.Low, before.High, after.Mean, after.Low, after.High, bonus)
	switch {
	case math.IsNaN(after.Mean + entropy.Mean + before.Mean + bonus):
		return Decision{Void, after, "accuracy or entropy was not measured on every seed"}
	case bonus <= 0 || entropy.Low > 0 && !everAbove(t, "curiosft", "sft"):
		return Decision{Contradicted, after, facts}
	case entropy.Low > 0 && before.High >= 0 && after.Low > 0:
		return Decision{Reproduced, after, facts}
	}
	return Decision{Undecided, after, facts}
}

// everAbove reports whether a ends above b on any seed that both have.
func everAbove(t *Table, a, b string) bool {
	for _, x := range t.Of(a) {
		for _, y := range t.Of(b) {
			if x.Seed == y.Seed && value(x.Final, t.Claim.Metric) > value(y.Final, t.Claim.Metric) {
				return true
			}
		}
	}
	return false
}
