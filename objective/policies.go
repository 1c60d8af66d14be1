package objective

import (
	"fmt"
	"slices"

	"github.com/hone-lm/hone/engine"
)

// policies returns the losses of reinforcement learning for All.
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

// CheckRows implements engine.RowChecker: settings that Eval would read as something else.
func (s Surrogate) CheckRows([]engine.Row) error {
	switch {
	case !slices.Contains(SurrogateForms, s.Form):
		return fmt.Errorf("unknown form %q: use one of %v", s.Form, SurrogateForms)
	case s.Ratio != "" && !slices.Contains(RatioLevels, s.Ratio):
		return fmt.Errorf("unknown ratio %q: use one of %v", s.Ratio, RatioLevels)
	case s.Form == FormSAPO && !(s.TauPos > 0 && s.TauNeg > 0):
		return fmt.Errorf("sapo's temperatures are %g and %g, which must be positive", s.TauPos, s.TauNeg)
	case !(s.MaxLog >= 0) || !(s.Delta >= 0):
		return fmt.Errorf("MaxLog is %g and Delta %g, which must be positive, or 0 for none", s.MaxLog, s.Delta)
	}
	return nil
}

// CheckRows implements engine.RowChecker.
func (k KL) CheckRows([]engine.Row) error { return checkPenalty(k.Estimator) }

// CheckRows implements engine.RowChecker.
func (k RatioKL) CheckRows([]engine.Row) error {
	if _, through := k.Estimator.through(); through {
		return fmt.Errorf("estimator %q: the ratio in front already gives the gradient of the divergence; leave the + out", k.Estimator)
	}
	if k.Ratio != "" && k.Ratio != RatioToken && k.Ratio != RatioSequence {
		return fmt.Errorf("unknown ratio %q: use %s or %s", k.Ratio, RatioToken, RatioSequence)
	}
	return checkPenalty(k.Estimator)
}

func checkPenalty(e KLEstimator) error {
	if !slices.Contains(KLPenalties, e) {
		return fmt.Errorf("unknown KL estimator %q: use one of %v", e, KLPenalties)
	}
	return nil
}

// CheckRows implements engine.RowChecker.
func (o DPPO) CheckRows([]engine.Row) error {
	if !slices.Contains(Divergences, o.Divergence) {
		return fmt.Errorf("unknown divergence %q: use one of %v", o.Divergence, Divergences)
	}
	if !(o.Cap > 0) {
		return fmt.Errorf("Cap is %g, which leaves nothing of the loss: 20 is usual", o.Cap)
	}
	return nil
}

// CheckRows implements engine.RowChecker.
func (o ClipCov) CheckRows([]engine.Row) error { return checkFraction(o.Fraction) }

// CheckRows implements engine.RowChecker.
func (o KLCov) CheckRows([]engine.Row) error { return checkFraction(o.Fraction) }

func checkFraction(f float64) error {
	if !(f > 0 && f <= 1) {
		return fmt.Errorf("the fraction of tokens is %g, which must lie in (0, 1]", f)
	}
	return nil
}

// CheckRows implements engine.RowChecker.
func (o ValueLoss) CheckRows([]engine.Row) error {
	if !(o.Clip >= 0) {
		return fmt.Errorf("Clip is %g, which must be positive, or 0 for no clipping", o.Clip)
	}
	return nil
}
