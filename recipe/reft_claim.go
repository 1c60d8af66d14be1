package recipe

import (
	"fmt"
	"math"
)

// reftClaim is the smallest faithful experiment.
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
	Learns: []Learns{{Arm: "sft", Stage: "warmup", Kind: "sft"}}, // that reft learns nothing would be a result
}

// decideReFT applies the rule's text.
func decideReFT(t *Table) Decision {
	d := t.ByInterval("reft", "sft", "accuracy", 0)
	if d.Verdict == Void {
		return d
	}
	small, large := t.lead("reft", "sft", "accuracy"), t.lead("reft beta 0.05", "sft", "accuracy")
	online, offline, sft := t.lead("reft", "online", "accuracy"), t.lead("online", "offline", "accuracy"), t.lead("offline", "sft", "accuracy")
	if math.IsNaN(small + large + online + offline + sft) {
		return Decision{Void, d.Difference, "accuracy was not measured on every arm and seed"}
	}
	d.Why = fmt.Sprintf("reft is %+.3f and %+.3f (beta 0.01 and 0.05) above sft and %+.3f above online, online %+.3f above offline, offline %+.3f above sft", small, large, online, offline, sft)
	switch {
	case max(small, large) <= 0:
		d.Verdict = Contradicted
	case d.Verdict == Reproduced && !(online > 0 && offline >= 0 && sft >= 0):
		d.Verdict = Undecided
	}
	return d
}
