package trainers

import (
	"errors"
	"fmt"
	"slices"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/objective"
)

// Tinker is one datum of the Tinker training API with a built-in loss, under its names. Lists are flat, rows first.
type Tinker struct {
	Loss       string              `json:"loss_fn"`
	Config     map[string]*float64 `json:"loss_fn_config,omitempty"`
	Shape      []int               `json:"shape"` // [N], or [N, K] for cross_entropy on K candidates a position
	LogProb    List                `json:"target_logprobs"`
	Weights    List                `json:"weights,omitempty"`    // cross_entropy
	Old        List                `json:"logprobs,omitempty"`   // the others: the sampler's
	Advantages List                `json:"advantages,omitempty"` // the others
}

// Eval returns the loss of each entry, their sum, and the derivative of the sum by each log-prob.
func (d Tinker) Eval() (token []float64, sum float64, grad []float64, err error) {
	obj, err := d.objective()
	if err != nil {
		return nil, 0, nil, err
	}
	if err := d.check(); err != nil {
		return nil, 0, nil, err
	}
	mask := make([]bool, len(d.LogProb))
	for i := range mask {
		mask[i] = true
	}
	inputs := []channel{{logProb, Matrix{d.LogProb}}}
	if d.Loss == "cross_entropy" {
		inputs = append(inputs, channel{weight, Matrix{d.Weights}})
	} else {
		inputs = append(inputs, channel{engine.ChanOld, Matrix{d.Old}}, channel{engine.ChanAdvantage, Matrix{d.Advantages}})
	}
	b, err := newBatch(Mask{mask}, inputs...)
	if err != nil {
		return nil, 0, nil, err
	}
	res, err := b.eval(engine.Stream{Name: d.Loss, Obj: obj, Coef: 1, Norm: engine.SumNorm, Rows: b.rows(Mask{mask}, nil)})
	if err != nil {
		return nil, 0, nil, err
	}
	return res.tokenLoss[0], res.loss, res.dLogProb[0], nil
}

func (d Tinker) objective() (engine.Objective, error) {
	known := map[string][]string{
		"cross_entropy": nil, "importance_sampling": nil, "dro": {"beta"},
		"ppo": {"clip_low_threshold", "clip_high_threshold"}, "cispo": {"clip_low_threshold", "clip_high_threshold"},
	}
	names, ok := known[d.Loss]
	if !ok {
		return nil, &UnsupportedError{d.Loss}
	}
	for k, x := range d.Config {
		if x == nil {
			return nil, fmt.Errorf("loss_fn_config: %q is null: give a number or leave it out", k)
		}
		if !slices.Contains(names, k) {
			return nil, fmt.Errorf("loss_fn_config: %s has no setting %q, only %q", d.Loss, k, names)
		}
	}
	// Thresholds bound the ratio itself.
	bounds := func(low, high float64) objective.ClipRange {
		low, high = or(d.Config["clip_low_threshold"], low), or(d.Config["clip_high_threshold"], high)
		return objective.ClipRange{Low: 1 - low, High: high - 1}
	}
	switch d.Loss {
	case "cross_entropy":
		return objective.CrossEntropy{}, nil
	case "importance_sampling":
		return objective.Surrogate{Form: objective.FormRatio}, nil
	case "ppo":
		return objective.Surrogate{Form: objective.FormClip, Range: bounds(0.8, 1.2)}, nil
	case "cispo":
		return objective.Surrogate{Form: objective.FormCISPO, Range: bounds(0, 4)}, nil
	}
	beta := d.Config["beta"]
	if beta == nil {
		return nil, errors.New("loss_fn_config: dro needs beta, which has no default")
	}
	return objective.DRO{Beta: *beta}, nil
}

func (d Tinker) check() error {
	n := 1
	for _, s := range d.Shape {
		if s < 0 {
			return fmt.Errorf("shape %v: a dimension is negative", d.Shape)
		}
		n *= s
	}
	ce := d.Loss == "cross_entropy"
	switch {
	case len(d.Shape) == 0 || len(d.Shape) > 2 || len(d.Shape) == 2 && !ce:
		return fmt.Errorf("shape %v: expected [N], or [N, K] for cross_entropy", d.Shape)
	case len(d.LogProb) != n:
		return fmt.Errorf("shape %v wants %d target_logprobs, got %d", d.Shape, n, len(d.LogProb))
	case ce && len(d.Weights) != n:
		return fmt.Errorf("cross_entropy wants %d weights, got %d", n, len(d.Weights))
	case ce && (d.Old != nil || d.Advantages != nil):
		return errors.New("cross_entropy reads weights, not logprobs and advantages")
	case !ce && (len(d.Old) != n || len(d.Advantages) != n):
		return fmt.Errorf("%s wants %d logprobs and advantages, got %d and %d", d.Loss, n, len(d.Old), len(d.Advantages))
	case !ce && d.Weights != nil:
		return fmt.Errorf("%s reads logprobs and advantages, not weights: switch a position off by advantage 0", d.Loss)
	}
	return nil
}
