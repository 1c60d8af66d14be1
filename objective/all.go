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

func policies() []engine.Objective {
	wide := ClipRange{Low: 0.2, High: 0.28}
	narrow := ClipRange{Low: 0.03, High: 0.04} // means over a sequence spread less
	return []engine.Objective{
		Surrogate{Form: FormClip, Range: wide, Delta: 1.5, MaxLog: 20},
		Surrogate{Form: FormClip, Range: narrow, Ratio: RatioSequence, MaxLog: 10},
		Surrogate{Form: FormClip, Range: narrow, Ratio: RatioSequenceToken, MaxLog: 10},
		Surrogate{Form: FormRatio, MaxLog: 1},
		Surrogate{Form: FormCISPO, Range: wide},
		Surrogate{Form: FormCISPO, Range: ClipRange{Low: 1, High: 1}, Ratio: RatioSequence},
		Surrogate{Form: FormSAPO, TauPos: 1, TauNeg: 1.05},
		Surrogate{Form: FormSAPO, TauPos: 1, TauNeg: 1.05, Ratio: RatioSequence},
		Surrogate{Form: FormSAPO, TauPos: 1, TauNeg: 1.05, Ratio: RatioSequenceToken},
		VESPO{KPos: 2, LambdaPos: 3, KNeg: 3, LambdaNeg: 2},
		GMPO{Low: 0.4, High: 0.4},
		DPPO{Divergence: BinaryTV, Low: 0.1, High: 0.1, Cap: 20},
		DPPO{Divergence: BinaryKL, Low: 0.02, High: 0.02, Cap: 20},
		DRO{Beta: 0.5},
		ClipCov{Range: wide, Fraction: 0.2, Lower: 0.02, Upper: 5, Key: engine.NewKey(1, "clip_cov")},
		KLCov{Fraction: 0.2, Coef: 1},
		KL{Estimator: KLAbs},
		KL{Estimator: LowVarKL},
		KL{Estimator: K1 + "+"},
		KL{Estimator: K3 + "+"},
		RatioKL{Estimator: K3},
		RatioKL{Estimator: K3, Ratio: RatioSequence},
		ValueLoss{},
		ValueLoss{Clip: 0.3},
	}
}
