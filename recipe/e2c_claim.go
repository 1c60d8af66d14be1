package recipe

import (
	"fmt"
	"math"
)

// e2cClaim is the smallest faithful experiment.
var e2cClaim = Claim{
	Says: "A model that plans before it executes is as good as plain chain of thought; weighing the plan's tokens and pairing plans causally with executions makes it better; " +
		"executing a few of many sampled plans beats a majority vote over whole chains of thought at equal tokens.",
	Scale: "Nano model, countdown with three numbers; plans are operations on letters, executions the arithmetic, made by program. 200 steps of SFT on 2,000 pairs, 40 + 60 steps of GRPO with 16 problems x 8 answers. " +
		"The naive pairs' executions take a wrong turn that the plan does not hold. Searches look at 200 problems with 1, 4 and 16 samples at temperature 1. Whether executions follow their plans is not measured at the end, accuracy stands for it; the paper's 30 % of the tokens is shown and decides nothing. Left out: the swap of plans and EF-SFT on new operators.",
	Metric: "accuracy",
	Shows:  []string{"length", "accuracy_vote_16", "length_vote_16", "accuracy_plan_vote_16", "length_plan_vote_16", "accuracy_plan_cluster_16_4", "length_plan_cluster_16_4", "accuracy_plan_judge_16", "length_plan_judge_16", "accuracy_plan_random_16"},
	Budget: Budget{Unit: Updates},
	Common: []string{"model=nano", "eval.problems=500", "eval.search_problems=200", "sft.rows=2000", "sft.steps=200", "sft.valid=0.05", "sft.valid_every=10"},
	Arms: []Arm{
		{Name: "plain", Recipe: "warmup-grpo", Settings: []string{"sft.form=verbose", "grpo.steps=100", "grpo.problems=16", "grpo.max_tokens=48", "eval.searches=[vote:1, vote:4, vote:16]"}},
		{Name: "lambda1", Settings: []string{"rl2.lambda=1"}},
		{Name: "lambda2", Settings: []string{"rl2.lambda=2", "eval.searches=[vote:1, vote:4, vote:16, plan_vote:4, plan_vote:16, plan_cluster:1, plan_cluster:4/2, plan_cluster:16/4, plan_judge:16, plan_random:16]"}},
		{Name: "naive", Settings: []string{"rl2.lambda=2", "sft.pairs=naive"}},
	},
	A: "lambda2", B: "plain",
	Rule: Rule{
		Text: "reproduced if the 95 % paired interval over seeds of lambda2 - plain on accuracy lies above -2 points lambda2 is on average not below lambda1 and above naive, and the executions of clustered plans are on average above plain's majority votes at equal tokens; " +
			"contradicted if that interval lies below -2 points, or the one of lambda2 - lambda1, of lambda2 - naive or of plans - votes below 0; else undecided",
		Decide: decideE2C,
	},
	Grids: []Grid{
		{Kind: "sft", Arm: "lambda1", Keys: []string{"sft.lr"}, Values: []string{"5e-4", "1e-3", "2e-3"}},
		{Kind: "rl", Arm: "lambda1", Keys: []string{"grpo.lr", "rl1.lr", "rl2.lr"}, Values: []string{"5e-5", "1e-4", "2e-4"}},
	},
	Learns: []Learns{{Arm: "plain", Stage: "sft", Kind: "sft"}, {Arm: "plain", Stage: "grpo", Kind: "rl"}},
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
	search, err := t.atEqualSpend("lambda2", "plain", againstTokens("plan_cluster"), againstTokens("vote"))
	if err != nil {
		return Decision{Void, plain, err.Error()}
	}
	same, err := t.atEqualSpend("lambda2", "lambda2", againstTokens("plan_cluster"), againstTokens("vote"))
	if err != nil {
		return Decision{Void, plain, err.Error()}
	}
	match, err := t.toMatch("lambda2", "plain", againstTokens("plan_cluster"), againstTokens("vote"))
	if err != nil {
		return Decision{Void, plain, err.Error()}
	}
	matched := "never reach the best of them on every seed"
	if !math.IsNaN(match.Mean) {
		matched = fmt.Sprintf("reach the best of them with %.0f %% of the tokens (the paper: below 30)", 100*match.Mean)
	}
	facts := fmt.Sprintf("lambda2 is %+.3f [%.3f, %.3f] above plain, %+.3f above lambda1, %+.3f above naive pairs; clustered plans are at equal tokens %+.3f [%.3f, %.3f] above plain's votes, %s, and are %+.3f above lambda2's own votes",
		plain.Mean, plain.Low, plain.High, weight.Mean, pairs.Mean, search.Mean, search.Low, search.High, matched, same.Mean)
	switch {
	case math.IsNaN(plain.Mean + weight.Mean + pairs.Mean):
		return Decision{Void, plain, "accuracy was not measured on every seed"}
	case plain.High < -0.02 || weight.High < 0 || pairs.High < 0 || search.High < 0:
		return Decision{Contradicted, plain, facts}
	case plain.Low > -0.02 && weight.Mean >= 0 && pairs.Mean > 0 && search.Mean > 0:
		return Decision{Reproduced, plain, facts}
	}
	return Decision{Undecided, plain, facts}
}
