package trainers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/objective"
)

// VerlPolicy is a call of one of verl's policy losses, under its names. Matrices are [row][token] of the responses.
type VerlPolicy struct {
	Name       string     `json:"name"`
	Config     VerlConfig `json:"config"`
	Mode       string     `json:"loss_agg_mode"`
	Old        Matrix     `json:"old_log_prob"`
	LogProb    Matrix     `json:"log_prob"`
	Advantages Matrix     `json:"advantages"`
	Mask       Mask       `json:"response_mask"`
}

// VerlConfig are the settings of verl's actor that its policy losses read.
type VerlConfig struct {
	Clip        float64  `json:"clip_ratio"`      // 0.2
	Low         *float64 `json:"clip_ratio_low"`  // nil: clip_ratio
	High        *float64 `json:"clip_ratio_high"` // nil: clip_ratio
	Dual        *float64 `json:"clip_ratio_c"`    // vanilla: 3; dppo: the ratio's bound, 20
	TauPos      *float64 `json:"tau_pos"`         // 1
	TauNeg      *float64 `json:"tau_neg"`         // 1.05
	KLCovRatio  *float64 `json:"kl_cov_ratio"`    // 2e-4
	PPOKLCoef   *float64 `json:"ppo_kl_coef"`     // 1
	DROBeta     *float64 `json:"dro_beta"`
	ScaleFactor *float64 `json:"loss_scale_factor"` // seq-mean-token-sum-norm: nil = the width of the batch
}

// UnmarshalJSON refuses unknown settings.
func (c *VerlConfig) UnmarshalJSON(data []byte) error {
	type plain VerlConfig
	c.Clip = 0.2
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	return dec.Decode((*plain)(c))
}

func or(x *float64, otherwise float64) float64 {
	if x == nil {
		return otherwise
	}
	return *x
}

// Loss returns the policy loss and its derivative by the log-probs.
func (p VerlPolicy) Loss() (loss float64, grad [][]float64, err error) {
	obj, err := p.objective()
	if err != nil {
		return 0, nil, err
	}
	b, err := newBatch(p.Mask, channel{logProb, p.LogProb}, channel{engine.ChanOld, p.Old}, channel{engine.ChanAdvantage, p.Advantages})
	if err != nil {
		return 0, nil, err
	}
	s := engine.Stream{Name: "rl", Obj: obj, Rows: b.rows(p.Mask, nil)}
	mode := p.Mode
	switch p.Name {
	case "geo_mean": // a mean over rows, those without a token included
		_, filled := p.Mask.counts()
		s.Norm, s.Coef = engine.UnitMean, float64(filled)/float64(len(p.Mask))
	case "gspo", "sapo": // verl reads no other mode here
		mode = "seq-mean-token-mean"
		fallthrough
	default:
		if err := aggregate(&s, mode, p.Mask, p.Config.ScaleFactor); err != nil {
			return 0, nil, err
		}
	}
	res, err := b.eval(s)
	if err != nil {
		return 0, nil, err
	}
	return res.loss, res.dLogProb, nil
}

func (p VerlPolicy) objective() (engine.Objective, error) {
	c := p.Config
	clip := objective.ClipRange{Low: or(c.Low, c.Clip), High: or(c.High, c.Clip)}
	switch p.Name {
	case "vanilla":
		if clip.Dual = or(c.Dual, 3); !(clip.Dual > 1) {
			return nil, fmt.Errorf("clip_ratio_c is %g, which must be above 1", clip.Dual)
		}
		return objective.Surrogate{Form: objective.FormClip, Range: clip, MaxLog: 20}, nil
	case "gspo":
		return objective.Surrogate{Form: objective.FormClip, Ratio: objective.RatioSequenceToken, Range: clip, MaxLog: 10}, nil
	case "sapo":
		return objective.Surrogate{Form: objective.FormSAPO, TauPos: or(c.TauPos, 1), TauNeg: or(c.TauNeg, 1.05), MaxLog: 20}, nil
	case "cispo":
		return objective.Surrogate{Form: objective.FormCISPO, Range: clip, MaxLog: 20}, nil
	case "gpg":
		return objective.PolicyGradient{}, nil
	case "geo_mean":
		return objective.GMPO{Low: clip.Low, High: clip.High}, nil
	case "dppo_tv":
		return objective.DPPO{Divergence: objective.BinaryTV, Low: clip.Low, High: clip.High, Cap: or(c.Dual, 20)}, nil
	case "dppo_kl":
		return objective.DPPO{Divergence: objective.BinaryKL, Low: clip.Low, High: clip.High, Cap: or(c.Dual, 20)}, nil
	case "kl_cov":
		return objective.KLCov{Fraction: or(c.KLCovRatio, 2e-4), Coef: or(c.PPOKLCoef, 1)}, nil
	case "dro":
		if c.DROBeta == nil || !(*c.DROBeta > 0) {
			return nil, errors.New("dro needs a positive dro_beta in config")
		}
		return objective.DRO{Beta: *c.DROBeta}, nil
	}
	return nil, &UnsupportedError{p.Name} // clip_cov among them: which tokens it leaves out is drawn by chance
}

// aggregate sets the normaliser of a stream to one of verl's loss_agg_mode; rows without a token do not count.
func aggregate(s *engine.Stream, mode string, mask Mask, scale *float64) error {
	_, filled := mask.counts()
	s.Coef = 1
	switch mode {
	case "token-mean":
		s.Norm = engine.TokenMean
	case "token-sum":
		s.Norm = engine.SumNorm
		return nil
	case "seq-mean-token-sum":
		s.Norm, s.Denom = engine.Constant, float64(filled)
	case "seq-mean-token-sum-norm":
		s.Norm, s.Denom = engine.Constant, float64(filled)
		if scale != nil {
			s.Denom *= *scale
		} else if len(mask) > 0 {
			s.Denom *= float64(len(mask[0]))
		}
	case "seq-mean-token-mean":
		s.Norm = engine.SeqMean
	default:
		return &UnsupportedError{mode}
	}
	if filled == 0 {
		return fmt.Errorf("no token in response_mask, so the mean of %s does not exist", mode)
	}
	return nil
}

// VerlValue is a call of verl's clipped value loss.
type VerlValue struct {
	Pred    Matrix   `json:"vpreds"`
	Returns Matrix   `json:"returns"`
	Old     Matrix   `json:"values"`
	Mask    Mask     `json:"response_mask"`
	Clip    float64  `json:"cliprange_value"`
	Mode    string   `json:"loss_agg_mode"`
	Scale   *float64 `json:"loss_scale_factor,omitempty"`
}

// Loss returns the value loss, the fraction of clipped tokens and the derivative by the predictions.
func (p VerlValue) Loss() (loss, clipped float64, grad [][]float64, err error) {
	if !(p.Clip > 0) {
		return 0, 0, nil, fmt.Errorf("cliprange_value is %g, which must be positive", p.Clip)
	}
	b, err := newBatch(p.Mask, channel{value, p.Pred}, channel{engine.ChanReturn, p.Returns}, channel{engine.ChanValueOld, p.Old})
	if err != nil {
		return 0, 0, nil, err
	}
	s := engine.Stream{Name: "value", Obj: objective.ValueLoss{Clip: p.Clip}, Rows: b.rows(p.Mask, nil)}
	if err := aggregate(&s, p.Mode, p.Mask, p.Scale); err != nil {
		return 0, 0, nil, err
	}
	res, err := b.eval(s)
	if err != nil {
		return 0, 0, nil, err
	}
	clipped, _ = res.tally.Mean("value_clip_fraction")
	return res.loss, clipped, res.dValue, nil
}

// VerlKL is a call of verl's KL penalty.
type VerlKL struct {
	Name    string `json:"name"`
	LogProb Matrix `json:"log_prob"`
	Ref     Matrix `json:"ref_log_prob"`
}

// verlKL are verl's names for the estimators. Its k3 is cut off under both names.
var verlKL = map[string]objective.KLEstimator{
	"kl": objective.K1, "k1": objective.K1, "abs": objective.KLAbs, "mse": objective.K2, "k2": objective.K2,
	"low_var_kl": objective.LowVarKL, "k3": objective.LowVarKL,
}

// Penalty returns the estimate for each token.
func (p VerlKL) Penalty() ([][]float64, error) {
	base := p.Name
	plus := ""
	if n := len(base); n > 0 && base[n-1] == '+' {
		base, plus = base[:n-1], "+"
	}
	e, ok := verlKL[base]
	if !ok {
		return nil, &UnsupportedError{p.Name}
	}
	out := make([][]float64, len(p.LogProb))
	if len(p.Ref) != len(out) {
		return nil, fmt.Errorf("log_prob has %d rows and ref_log_prob %d", len(out), len(p.Ref))
	}
	for i, row := range p.LogProb {
		if len(p.Ref[i]) != len(row) {
			return nil, fmt.Errorf("row %d of log_prob has %d entries and of ref_log_prob %d", i, len(row), len(p.Ref[i]))
		}
		out[i] = make([]float64, len(row))
		for t, lp := range row {
			out[i][t], _ = (e + objective.KLEstimator(plus)).Value(lp, p.Ref[i][t])
		}
	}
	return out, nil
}

// VerlAdvantage is a call of one of verl's advantage estimators.
type VerlAdvantage struct {
	Name      string            `json:"name"`
	Args      VerlArgs          `json:"args,omitempty"`
	Rewards   Matrix            `json:"token_level_rewards"`
	Mask      Mask              `json:"response_mask"`
	Index     []json.RawMessage `json:"index,omitempty"` // numbers or texts
	Values    *Matrix           `json:"values,omitempty"`
	Baselines List              `json:"reward_baselines,omitempty"`
}

// VerlArgs are the settings of verl's estimators.
type VerlArgs struct {
	Gamma   *float64 `json:"gamma"`                   // 1
	Lambda  *float64 `json:"lam"`                     // 1
	Epsilon *float64 `json:"epsilon"`                 // 1e-6
	Std     *bool    `json:"norm_adv_by_std_in_grpo"` // true
}

// UnmarshalJSON refuses unknown settings.
func (a *VerlArgs) UnmarshalJSON(data []byte) error {
	type plain VerlArgs
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	return dec.Decode((*plain)(a))
}

// Advantages returns advantages and returns, [row][token].
func (p VerlAdvantage) Advantages() (advantages, returns [][]float64, err error) {
	e := objective.Estimator(p.Name)
	std := p.Args.Std == nil || *p.Args.Std
	switch e {
	case objective.EstGRPO:
		if !std {
			e = objective.EstDrGRPO
		}
	case objective.EstGAE, objective.EstRLOO, objective.EstOPO, objective.EstReinforcePP, objective.EstReinforcePPGroups, objective.EstReMax, objective.EstGPG, objective.EstPassK:
	default:
		return nil, nil, &UnsupportedError{p.Name}
	}
	in := &objective.TokenRewards{Rewards: p.Rewards, Mask: p.Mask, Baseline: p.Baselines}
	for _, i := range p.Index {
		in.Group = append(in.Group, string(i))
	}
	if p.Values != nil {
		in.Values = *p.Values
	}
	return e.Advantages(in, objective.EstimatorParams{Gamma: or(p.Args.Gamma, 1), Lambda: or(p.Args.Lambda, 1), Eps: or(p.Args.Epsilon, objective.AdvantageEps), NoStd: !std, CountEps: 1e-8})
}
