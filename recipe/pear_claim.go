package recipe

import (
	"fmt"
	"math"

	"github.com/hone-lm/hone/eval/stats"
)

// pearClaim is the paper's comparison at the scale of nano.
var pearClaim = &Claim{
	Says: "Weighting demonstrated tokens by how likely the student is to go on as demonstrated makes SFT a better start for the same RL, although the model is no better right after SFT.",
	Scale: "nano on countdown with three numbers. The teacher is nano after 600 updates on 5,000 verbose demonstrations; 2,000 of its right answers, sampled at temperature 1, teach nano for 90 updates of 64 rows (three epochs), " +
		"then 100 updates of GRPO with 16 problems x 8 answers. Student and teacher have the same size; the paper's teachers are larger. In the mixed arms half of the rows are the expert's traces with a plan in letters first, and a model fitted on the mixture for 100 updates " +
		"gives the log-probs below the ratio: the slack of the budget is for these updates. Three seeds, five for the deciding pair.",
	Metric: "pass_at_8", Budget: Budget{Unit: Updates, Slack: 0.15},
	Common: []string{"model=nano", "eval.problems=500", "eval.pass_at=8", "eval.pass_problems=500", "teacher.steps=600", "teacher.rows=5000", "teacher.form=verbose", "demos.steps=300", "demos.rows=2000", "demos.max_tokens=48",
		"behaviour.steps=100", "sft.steps=90", "sft.batch=64", "sft.valid=0.05", "sft.valid_every=10", "grpo.steps=100", "grpo.problems=16", "grpo.group_size=8", "grpo.max_tokens=48"},
	Arms: []Arm{
		{Name: "sft", Settings: []string{"sft.weights=none"}},
		{Name: "sequence", Settings: []string{"sft.weights=sequence"}},
		{Name: "block", Settings: []string{"sft.weights=block", "sft.block=4"}},
		{Name: "token", Settings: []string{"sft.weights=token"}},
		{Name: "shuffled", Settings: []string{"sft.weights=token", "sft.shuffle=true"}},
		{Name: "token, mean 1", Settings: []string{"sft.weights=token", "sft.mean_one=true"}},
		{Name: "mixed sft", Settings: []string{"sft.weights=none", "demos.foreign=0.5", "demos.foreign_form=planned", "behaviour.from=fitted"}},
		{Name: "mixed token", Settings: []string{"sft.weights=token", "demos.foreign=0.5", "demos.foreign_form=planned", "behaviour.from=fitted"}}},
	A: "token", B: "sft",
	Rule: Rule{
		Text: "reproduced if the 95 % paired t-interval over seeds of token - sft on pass@8 after RL lies above 0, token's mean pass@8 before RL is not higher than sft's, and its mean after RL is above shuffled's; " +
			"contradicted if the interval lies below 0, if shuffled's mean after RL is not below token's, or if token's mean is not above sft's and the arms stand after RL as they stood before; else undecided",
		Decide: decidePEAR,
	},
	Grids: []Grid{
		{Kind: "sft", Arm: "sft", Keys: []string{"sft.lr"}, Values: []string{"5e-4", "1e-3", "2e-3"}},
		{Kind: "rl", Arm: "sft", Keys: []string{"grpo.lr"}, Values: []string{"1e-4", "2e-4", "4e-4"}}},
	Learns: []Learns{{Arm: "sft", Stage: "sft", Kind: "sft"}, {Arm: "sft", Stage: "grpo", Kind: "rl", Metric: "accuracy"}}, // RL that raises accuracy and leaves pass@8 has learned
}

// decidePEAR applies the rule's text.
func decidePEAR(t *Table) Decision {
	d, err := t.Paired("token", "sft", "pass_at_8")
	if err != nil {
		return Decision{Void, d, err.Error()}
	}
	arms := []string{"sft", "sequence", "block", "token", "shuffled"}
	before, after := map[string]float64{}, map[string]float64{}
	sum := 0.0
	for _, a := range arms {
		var x []float64
		for _, o := range t.Of(a) {
			x = append(x, value(o.Before, "pass_at_8"))
		}
		before[a], after[a] = stats.TInterval(x).Mean, t.Mean(a, "pass_at_8").Mean
		sum += before[a] + after[a]
	}
	rank := rankCorrelation(arms, before, after)
	shuffled, earlier := t.lead("token", "shuffled", "pass_at_8"), math.NaN()
	if d, err := t.PairedBefore("token", "sft", "pass_at_8"); err == nil {
		earlier = d.Mean
	}
	facts := fmt.Sprintf("token is %+.3f [%.3f, %.3f] above sft after RL and %+.3f before, %+.3f above shuffled; the rank correlation of the arms before and after is %.2f",
		d.Mean, d.Low, d.High, earlier, shuffled, rank)
	switch {
	case math.IsNaN(sum + shuffled + earlier):
		return Decision{Void, d, "pass@8 was not measured on every arm and seed, before and after RL"}
	case d.High < 0, shuffled <= 0, d.Mean <= 0 && rank == 1:
		return Decision{Contradicted, d, facts}
	case d.Low > 0 && earlier <= 0:
		return Decision{Reproduced, d, facts}
	}
	return Decision{Undecided, d, facts}
}
