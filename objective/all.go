package objective

import "github.com/hone-lm/hone/engine"

// All returns every objective of the package with ordinary settings, for tests that hold them all to the same rules.
func All() []engine.Objective {
	all := []engine.Objective{
		CrossEntropy{},
		ImportanceWeighted{Level: WeightToken, Gamma: 0.999, Low: -0.08, High: 0.3, LogMin: -10, LogMax: 5},
		ImportanceWeighted{Level: WeightBlock, Block: 4, Gamma: 0.9, Low: -0.08, High: 0.3, LogMin: -10, LogMax: 5, Center: true, Power: 1},
		ImportanceWeighted{Level: WeightSequence, Gamma: 1, Low: -0.08, High: 0.3, LogMin: -10, LogMax: 5, MeanOne: true, Shuffle: true, Key: engine.NewKey(1, "shuffle")},
		Clipped{ClipRange{Low: 0.2, High: 0.28}},
		Clipped{ClipRange{Low: 0.2, High: 0.2, Dual: 3}},
		PolicyGradient{},
		KL{Estimator: K1},
		KL{Estimator: K2},
		KL{Estimator: K3},
		KL{Estimator: K3, Ref: engine.ChanOld},
		EntropyBonus{},
		KTO{Loss: UnpairedKTO, Beta: 0.3, Desirable: 1, Undesirable: 1.2, KL: 0.4},
		ReferenceFree{Loss: CPO, Beta: 0.1},
		ReferenceFree{Loss: SimPO, Beta: 2, Gamma: 0.5},
		ReferenceFree{Loss: ORPO, Beta: 0.2},
		DPO{Beta: 0.3, Losses: []PairTerm{{PairAOT, 1}, {PairSFT, 0.5}}, LabelSmoothing: 0.1},
		TermLoss{EntropyTerm{}},
		TermLoss{CollisionTerm{}},
		DPO{Beta: 0.3},
	}
	return append(all, policies()...)
}
