package objective

import "github.com/hone-lm/hone/engine"

// All returns every objective of the package with ordinary settings, for tests that hold them all to the same rules.
func All() []engine.Objective {
	all := []engine.Objective{
		CrossEntropy{},
		Clipped{ClipRange{Low: 0.2, High: 0.28}},
		Clipped{ClipRange{Low: 0.2, High: 0.2, Dual: 3}},
		PolicyGradient{},
		KL{Estimator: K1},
		KL{Estimator: K2},
		KL{Estimator: K3},
		KL{Estimator: K3, Ref: engine.ChanOld},
		EntropyBonus{},
	}
	all = append(all, policies()...)
	return append(all, DPO{Beta: 0.3})
}
