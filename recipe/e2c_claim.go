package recipe

import (
	"fmt"
	"math"
)

// e2cClaim is the training half of the card's smallest faithful experiment.
var e2cClaim = Claim{
	Says: "A model that plans before it executes is as good as plain chain of thought; weighing the plan's tokens and pairing plans causally with executions makes it better.",
	Scale: "Nano model, countdown with three numbers; plans are operations on letters, executions the arithmetic, made by program. 200 steps of SFT on 2,000 pairs, 40 + 60 steps of GRPO with 16 problems x 8 answers. " +
		"The naive pairs' executions take a wrong turn that the plan does not hold. Left out: the search over 1-16 plans against tokens, the swap of plans and EF-SFT on new operators, so a verdict speaks of one answer a problem alone.",
	Metric: "accuracy",
	Budget: Budget{Unit: Updates},
	Common: []string{"model=nano", "eval.problems=500", "sft.rows=2000", "sft.steps=200", "sft.valid=0.05", "sft.valid_every=10"},
	Arms: []Arm{
		{Name: "plain", Recipe: "warmup-grpo", Settings: []string{"sft.form=verbose", "grpo.steps=100", "grpo.problems=16", "grpo.max_tokens=48"}},
		{Name: "lambda1", Settings: []string{"rl2.lambda=1"}},
		{Name: "lambda2", Settings: []string{"rl2.lambda=2"}},
		{Name: "naive", Settings: []string{"rl2.lambda=2", "sft.pairs=naive"}},
	},
	A: "lambda2", B: "plain",
	Rule: Rule{
		Text: "reproduced if the 95 % paired interval over seeds of lambda2 - plain on accuracy lies above -2 points and lambda2 is on average not below lambda1 and above naive; " +
			"contradicted if that interval lies below -2 points, or the one of lambda2 - lambda1 or of lambda2 - naive below 0; else undecided",
		Decide: decideE2C,
	},
	Grids: []Grid{
		{Kind: "sft", Arm: "lambda1", Keys: []string{"sft.lr"}, Values: []string{"5e-4", "1e-3", "2e-3"}},
		{Kind: "rl", Arm: "lambda1", Keys: []string{"grpo.lr", "rl1.lr", "rl2.lr"}, Values: []string{"5e-5", "1e-4", "2e-4"}},
	},
	Learns: []Learns{{"plain", "sft", "sft"}, {"plain", "grpo", "rl"}},
}

// decideE2C applies the rule's text.
func decideE2C(t *Table) Decision {
	plain, err := t.Paired("lambda2", "plain", "accuracy")
	if err != nil {
		return Decision{Void, plain, err.Error()}
	}
	weight, err := t.Paired("lambda2", "lambda1", "accuracy")
	if err != nil {
		return Decision{Void, plain, err.Error()}
	}
	pairs, err := t.Paired("lambda2", "naive", "accuracy")
	if err != nil {
		return Decision{Void, plain, err.Error()}
	}
	facts := fmt.Sprintf("lambda2 is %+.3f [%.3f, %.3f] above plain, %+.3f above lambda1, %+.3f above naive pairs", plain.Mean, plain.Low, plain.High, weight.Mean, pairs.Mean)
	switch {
	case math.IsNaN(plain.Mean + weight.Mean + pairs.Mean):
		return Decision{Void, plain, "accuracy was not measured on every seed"}
	case plain.High < -0.02 || weight.High < 0 || pairs.High < 0:
		return Decision{Contradicted, plain, facts}
	case plain.Low > -0.02 && weight.Mean >= 0 && pairs.Mean > 0:
		return Decision{Reproduced, plain, facts}
	}
	return Decision{Undecided, plain, facts}
}
