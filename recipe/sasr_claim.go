package recipe

// realised is the share of SFT steps that the adaptive arm came to: the same share without the adaptivity is the fair control.
var realised = []Given{{Key: "share", Arm: "sasr", Stage: "mix", Metric: "sft_step"}}

var sasrClaim = &Claim{
	Says: "Choosing SFT or GRPO at every step after the size of the SFT gradient beats SFT, GRPO and any fixed mixture of them.",
	Scale: "nano on countdown with three numbers, 1,000 demonstrations, warm-up 50 and 150 steps (250 would be better) with 16 problems x 8 answers or 64 rows; three seeds, five for the deciding pair. " +
		"The fixed, cosine and switched arms take as their share of SFT steps what the adaptive arm realised on the same seed. Out-of-distribution puzzles are not measured.",
	Metric: "accuracy", Budget: Budget{Unit: Updates},
	Common: []string{"model=nano", "eval.problems=500", "warmup.steps=50", "mix.steps=150", "grpo.problems=16", "grpo.group_size=8", "sft.rows=1000", "sft.batch=64", "sft.valid=0.1"},
	Arms: []Arm{
		{Name: "grpo", Settings: []string{"arm=fixed", "share=0"}},
		{Name: "sft", Settings: []string{"arm=fixed", "share=1"}},
		{Name: "switch", Settings: []string{"arm=switch"}, Given: realised},
		{Name: "fixed", Settings: []string{"arm=fixed"}, Given: realised},
		{Name: "cosine", Settings: []string{"arm=cosine"}, Given: realised},
		{Name: "sasr", Settings: []string{"arm=adaptive"}}},
	A: "sasr", B: "fixed",
	Rule: Rule{Text: "sasr - fixed: reproduced if the 95 % paired t-interval over seeds of accuracy lies above 0 and sasr's mean is above those of sft, grpo, switch and cosine; contradicted if the interval lies below 0, or if sasr's mean is not above all of those; else undecided", Decide: func(t *Table) Decision {
		return aboveAll(t, "sasr", "fixed", "sft", "grpo", "switch", "cosine")
	}},
	Grids: []Grid{
		{Kind: "sft", Arm: "sft", Keys: []string{"warmup.lr"}, Values: []string{"5e-4", "1e-3", "2e-3"}},
		{Kind: "rl", Arm: "grpo", Keys: []string{"mix.lr"}, Values: []string{"1e-4", "2e-4", "4e-4"}}},
	Learns: []Learns{{Arm: "sft", Stage: "mix", Kind: "sft"}, {Arm: "grpo", Stage: "mix", Kind: "rl"}},
}
