package trainers

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/objective"
)

// GRPOConfig are the settings of TRL's GRPOTrainer that its loss depends on, under its names.
type GRPOConfig struct {
	LossType  string   `json:"loss_type"`
	Level     string   `json:"importance_sampling_level,omitempty"` // token or sequence
	Beta      float64  `json:"beta,omitempty"`                      // weight of k3 against the reference
	Low       float64  `json:"epsilon_low,omitempty"`
	High      *float64 `json:"epsilon_high,omitempty"` // nil: epsilon_low
	Delta     *float64 `json:"delta,omitempty"`        // two-sided clipping; nil = off
	MaxLength float64  `json:"max_completion_length,omitempty"`
	Items     float64  `json:"num_items_in_batch,omitempty"`
	TauPos    float64  `json:"sapo_temperature_pos,omitempty"`
	TauNeg    float64  `json:"sapo_temperature_neg,omitempty"`
	VESPO     List     `json:"vespo,omitempty"` // k_pos, lambda_pos, k_neg, lambda_neg
	CorrectKL bool     `json:"use_bias_correction_kl,omitempty"`
}

// DefaultGRPO returns TRL's own values for settings that a request leaves out.
func DefaultGRPO() GRPOConfig {
	return GRPOConfig{Level: "token", Low: 0.2, TauPos: 1, TauNeg: 1.05, VESPO: List{2, 3, 3, 2}}
}

// GRPOInputs are the tensors of TRL's GRPOTrainer, [row][token] of the completions.
type GRPOInputs struct {
	LogProb    Matrix          `json:"per_token_logps"`
	Old        *Matrix         `json:"old_per_token_logps,omitempty"` // nil: on policy
	Ref        *Matrix         `json:"ref_per_token_logps,omitempty"` // needed with beta
	Advantages RowAdvantages   `json:"advantages"`
	Mask       Mask            `json:"completion_mask"`
	Entropies  json.RawMessage `json:"entropies,omitempty"` // for metrics only
}

// RowAdvantages are advantages a row, or a token.
type RowAdvantages struct {
	Row   List
	Token Matrix
}

// UnmarshalJSON reads a list of numbers or a list of lists of them.
func (a *RowAdvantages) UnmarshalJSON(data []byte) error {
	if a.Row.UnmarshalJSON(data) == nil {
		return nil
	}
	if a.Token.UnmarshalJSON(data) != nil {
		return errors.New("expected a number a row, or a list of numbers a row")
	}
	return nil
}

// perToken gives every token of a row its advantage.
func (a RowAdvantages) perToken(mask Mask) (Matrix, error) {
	if a.Token != nil {
		return a.Token, nil
	}
	if len(a.Row) != len(mask) {
		return nil, fmt.Errorf("%d advantages for %d rows: give one a row", len(a.Row), len(mask))
	}
	out := make(Matrix, len(mask))
	for i := range mask {
		for range mask[i] {
			out[i] = append(out[i], a.Row[i])
		}
	}
	return out, nil
}

// GRPO returns TRL's GRPO loss and its derivative by the log-probs (TRL 1.9, one micro-batch a step).
func GRPO(c GRPOConfig, in GRPOInputs) (loss float64, grad [][]float64, err error) {
	adv, err := in.Advantages.perToken(in.Mask)
	if err != nil {
		return 0, nil, err
	}
	old := in.LogProb
	if in.Old != nil {
		old = *in.Old
	}
	inputs := []channel{{logProb, in.LogProb}, {engine.ChanOld, old}, {engine.ChanAdvantage, adv}}
	if c.Beta != 0 {
		if in.Ref == nil {
			return 0, nil, errors.New("beta is not 0, but ref_per_token_logps is missing")
		}
		inputs = append(inputs, channel{engine.ChanRef, *in.Ref})
	}
	b, err := newBatch(in.Mask, inputs...)
	if err != nil {
		return 0, nil, err
	}
	streams, err := c.streams(b, in.Advantages.Token != nil)
	if err != nil {
		return 0, nil, err
	}
	res, err := b.eval(streams...)
	if err != nil {
		return 0, nil, err
	}
	return res.loss, res.dLogProb, nil
}

// streams is the policy's stream and, with beta, the reference's.
func (c GRPOConfig) streams(b *batch, perToken bool) ([]engine.Stream, error) {
	policy, err := c.objective()
	if err != nil {
		return nil, err
	}
	rl := engine.Stream{Name: "rl", Obj: policy, Coef: 1, Rows: b.rows(b.mask, nil)}
	tokens, filled := b.mask.counts()
	rows := float64(len(b.mask))
	kl := rl
	switch c.LossType {
	case "grpo", "sapo": // rows without a token count in the mean
		rl.Norm, rl.Coef = engine.SeqMean, float64(filled)/rows
	case "bnpo":
		rl.Norm = engine.TokenMean
	case "dr_grpo":
		rl.Norm, rl.Denom = engine.Constant, rows*c.MaxLength
	case "luspo":
		return c.luspo(b, rl, tokens, perToken)
	default: // dapo, cispo, vespo
		rl.Norm, rl.Denom = engine.Constant, math.Max(c.Items, 1)
	}
	kl = rl
	kl.Name, kl.Obj, kl.Coef = "kl", c.penalty(), c.Beta*rl.Coef
	return []engine.Stream{rl, kl}, nil
}

// luspo is the mean over rows of each row's length times its loss (arXiv 2602.05261). Up to version 1.9 TRL takes that mean over rows and
// tokens, padding included, as soon as the loss differs between the tokens of a row: with beta, or with token ratios.
func (c GRPOConfig) luspo(b *batch, rl engine.Stream, tokens []int, perToken bool) ([]engine.Stream, error) {
	sequence := c.Level == "sequence"
	if sequence && (perToken || c.CorrectKL && c.Beta != 0) {
		return nil, &UnsupportedError{"luspo with sequence ratios and a loss that differs between tokens"}
	}
	all, weights, width := make(Mask, len(b.mask)), make([]float32, len(b.mask)), 0
	for i, r := range b.mask {
		width = len(r)
		weights[i] = float32(tokens[i])
		for range r {
			all[i] = append(all[i], true)
		}
	}
	padded := rl
	padded.Norm, padded.Denom, padded.Rows = engine.Constant, float64(len(b.mask)*width), b.rows(all, weights)
	if sequence { // a row's loss stands on each of its tokens: their sum is length times loss
		rl.Norm, rl.Denom = engine.Constant, float64(len(b.mask))
	} else {
		rl = padded
	}
	kl := padded
	kl.Name, kl.Obj, kl.Coef = "kl", c.penalty(), c.Beta
	return []engine.Stream{rl, kl}, nil
}

func (c GRPOConfig) level() (objective.RatioLevel, error) {
	switch c.Level {
	case "token":
		return objective.RatioToken, nil
	case "sequence":
		return objective.RatioSequence, nil
	}
	return "", &UnsupportedError{c.Level}
}

func (c GRPOConfig) objective() (engine.Objective, error) {
	level, err := c.level()
	if err != nil {
		return nil, err
	}
	s := objective.Surrogate{Form: objective.FormClip, Ratio: level, Range: objective.ClipRange{Low: c.Low, High: c.Low}}
	if c.High != nil {
		s.Range.High = *c.High
	}
	switch c.LossType {
	case "grpo", "bnpo", "dr_grpo", "dapo", "luspo":
		if c.Delta != nil {
			if s.Delta = *c.Delta; !(s.Delta > 0) {
				return nil, fmt.Errorf("delta is %g, which must be positive; leave it out for no bound", s.Delta)
			}
		}
	case "cispo": // epsilon_high bounds the ratio itself
		s.Form, s.Range = objective.FormCISPO, objective.ClipRange{Low: 1, High: s.Range.High - 1}
	case "sapo":
		s.Form, s.TauPos, s.TauNeg = objective.FormSAPO, c.TauPos, c.TauNeg
	case "vespo":
		if len(c.VESPO) != 4 {
			return nil, fmt.Errorf("vespo has %d numbers: give k_pos, lambda_pos, k_neg and lambda_neg", len(c.VESPO))
		}
		return objective.VESPO{KPos: c.VESPO[0], LambdaPos: c.VESPO[1], KNeg: c.VESPO[2], LambdaNeg: c.VESPO[3]}, nil
	default:
		return nil, &UnsupportedError{c.LossType}
	}
	return s, nil
}

// penalty is k3 against the reference, weighted by the probability ratio with use_bias_correction_kl.
func (c GRPOConfig) penalty() engine.Objective {
	if !c.CorrectKL {
		return objective.KL{Estimator: objective.K3}
	}
	level, _ := c.level() // objective has looked at it
	return objective.RatioKL{Estimator: objective.K3, Ratio: level}
}
