package recipe

var prefixRFTClaim = &Claim{
	Says: "Continuing demonstrations' prefixes and training them with the answer's advantage beats SFT, GRPO, SFT then GRPO and GRPO with an SFT loss.",
	Scale: "nano on countdown with four numbers, after a format warm-up of 20 updates on 1,000 demonstrations; 200 updates of 16 problems x 8 answers (paper: 128 questions) or 64 rows. " +
		"Every problem of the stream has a demonstration (a first design had 1,000 in all; the arm with 10 % shows the other end). SFT then GRPO splits the same updates, 100 and 100. Three seeds, five for the deciding pair; pass@16 is not measured.",
	Metric: "accuracy", Budget: Budget{Unit: Updates},
	Common: []string{"model=nano", "eval.problems=500", "sft.data=countdown?level=4", "sft.rows=1000", "sft.valid=0.1", "sft.valid_every=10", "sft.steps=20", "rl.task=countdown?level=4", "rl.steps=200", "rl.problems=16", "rl.group_size=8"},
	Arms: []Arm{
		{Name: "grpo", Settings: []string{"rl.length=none"}},
		{Name: "sft", Settings: []string{"sft.steps=220", "rl.steps=0"}},
		{Name: "sft then grpo", Settings: []string{"sft.steps=120", "rl.steps=100", "rl.length=none"}},
		{Name: "grpo + 0.1 sft", Settings: []string{"rl.length=none", "rl.sft_coef=0.1"}},
		{Name: "prefix-rft"},
		{Name: "frozen prefix", Settings: []string{"rl.train=frozen"}},
		{Name: "uniform length", Settings: []string{"rl.length=uniform"}},
		{Name: "10 % demonstrations", Settings: []string{"rl.demos=0.1"}}},
	A: "prefix-rft", B: "sft then grpo",
	Rule: Rule{Text: "prefix-rft - sft then grpo: reproduced if the 95 % paired t-interval over seeds of accuracy lies above 0 and prefix-rft's mean is above those of grpo and frozen prefix; contradicted if the interval lies below 0, or if prefix-rft's mean is not above both; else undecided", Decide: func(t *Table) Decision {
		return aboveAll(t, "prefix-rft", "sft then grpo", "grpo", "frozen prefix")
	}},
	Grids: []Grid{
		{Kind: "sft", Arm: "sft", Keys: []string{"sft.lr"}, Values: []string{"5e-4", "1e-3", "2e-3"}},
		{Kind: "rl", Arm: "sft then grpo", Keys: []string{"rl.lr"}, Values: []string{"1e-4", "2e-4", "4e-4"}}},
	Learns: []Learns{{Arm: "sft", Stage: "sft", Kind: "sft"}, {Arm: "sft then grpo", Stage: "rl", Kind: "rl"}},
}
