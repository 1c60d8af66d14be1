package recipe

import (
	"fmt"
	"math"
)

// reftClaim is the card's smallest faithful experiment.
var reftClaim = Claim{
	Says: "PPO on the questions of the demonstrations, after a short SFT on them, beats going on with SFT and learning from the model's own right answers, with no new questions.",
	Scale: "Nano model, countdown with three numbers, 500 questions with one demonstration each (a tenth held out for a validation loss), a warm-up of 80 updates (where the held-out loss is lowest); then 400 updates in every arm: " +
		"reft and online sample 100 times 64 questions and learn from them in 2 passes of 2 minibatches, offline samples 8 answers to each question once and starts from the base model. " +
		"Held-out problems are graded greedily at the end; accuracy on the training questions, distinct right answers and the mean KL to the warm-up are left out.",
	Metric: "accuracy",
	Budget: Budget{Unit: Updates},
	Common: []string{"model=nano", "eval.problems=500", "sft.rows=500", "sft.valid=0.1", "sft.valid_every=20", "warmup.steps=80", "rl.steps=100", "rl.passes=2", "rl.minibatches=2", "rl.problems=64"},
	Arms: []Arm{
		{Name: "sft", Settings: []string{"arm=sft"}},
		{Name: "offline", Settings: []string{"arm=offline"}},
		{Name: "online", Settings: []string{"arm=online"}},
		{Name: "reft", Settings: []string{"rl.kl=0.01"}},
		{Name: "reft beta 0.05", Settings: []string{"rl.kl=0.05"}},
	},
	A: "reft", B: "sft",
	Rule: Rule{
		Text: "reproduced if the 95 % paired t-interval over seeds of reft - sft on accuracy lies above 0 and the means are in the order reft > online >= offline >= sft; " +
			"contradicted if the mean of reft is not above that of sft with either beta, or the interval lies below 0; else undecided",
		Decide: decideReFT,
	},
	Grids: []Grid{
		{Kind: "sft", Arm: "sft", Keys: []string{"warmup.lr"}, Values: []string{"5e-4", "1e-3", "2e-3"}},
		{Kind: "rl", Arm: "reft", Keys: []string{"rl.lr"}, Values: []string{"1e-4", "3e-4", "6e-4"}},
	},
	Learns: []Learns{{"sft", "warmup", "sft"}}, // that reft learns nothing would be a result
}

// decideReFT applies the rule's text.
func decideReFT(t *Table) Decision {
	d := t.ByInterval("reft", "sft", "accuracy", 0)
	mean := map[string]float64{}
	for _, arm := range []string{"sft", "offline", "online", "reft", "reft beta 0.05"} {
		mean[arm] = t.Mean(arm, "accuracy").Mean
		if math.IsNaN(mean[arm]) {
			return Decision{Void, d.Difference, fmt.Sprintf("accuracy of %s was not measured on every seed", arm)}
		}
	}
	if d.Verdict == Void {
		return d
	}
	d.Why = fmt.Sprintf("means: reft %.3f and %.3f (beta 0.01 and 0.05), online %.3f, offline %.3f, sft %.3f", mean["reft"], mean["reft beta 0.05"], mean["online"], mean["offline"], mean["sft"])
	ordered := mean["reft"] > mean["online"] && mean["online"] >= mean["offline"] && mean["offline"] >= mean["sft"]
	switch {
	case max(mean["reft"], mean["reft beta 0.05"]) <= mean["sft"]:
		d.Verdict = Contradicted
	case d.Verdict == Reproduced && !ordered:
		d.Verdict = Undecided
	}
	return d
}
