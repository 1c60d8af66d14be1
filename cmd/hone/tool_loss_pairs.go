package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/hone-lm/hone/objective"
)

// decodePart reads one object of a request.
func decodePart(name string, raw json.RawMessage, into any) error {
	if raw == nil {
		return fmt.Errorf("field %q is missing: this source needs it", name)
	}
	if err := decodeRequest(raw, into); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// configAndInputs reads the two parts of TRL's cases.
func configAndInputs(req lossRequest, config, inputs any) error {
	if req.Case != nil {
		return fmt.Errorf("field \"case\" does not belong to source %s: give config and inputs", req.Source)
	}
	if err := decodePart("config", req.Config, config); err != nil {
		return err
	}
	return decodePart("inputs", req.Inputs, inputs)
}

// logitLoss is the reply of sources whose inputs are logits.
type logitLoss struct {
	Loss       float64       `json:"loss"`
	GradLogits [][][]float64 `json:"grad_logits"` // [row][token][id]
}

// or returns what a setting points to, or its default.
func or[T any](given *T, otherwise T) T {
	if given == nil {
		return otherwise
	}
	return *given
}

// boolMask reads a mask of zeros and ones.
func boolMask(name string, mask [][]int) ([][]bool, error) {
	out := make([][]bool, len(mask))
	for r, row := range mask {
		out[r] = make([]bool, len(row))
		for t, m := range row {
			if m != 0 && m != 1 {
				return nil, fmt.Errorf("inputs: %s[%d][%d] is %d: give 1 for the answer's tokens, 0 for the others", name, r, t, m)
			}
			out[r][t] = m == 1
		}
	}
	return out, nil
}

func trlDPO(req lossRequest) (any, error) {
	var c struct {
		LossTypes      []objective.PairLoss   `json:"loss_types"`
		LossWeights    []float64              `json:"loss_weights,omitempty"`
		Beta           *float64               `json:"beta,omitempty"`
		LabelSmoothing *float64               `json:"label_smoothing,omitempty"`
		Divergence     *objective.FDivergence `json:"f_divergence_type,omitempty"`
		Alpha          *float64               `json:"f_alpha_divergence_coef,omitempty"`
		LDAlpha        *float64               `json:"ld_alpha,omitempty"`
		UseWeighting   *bool                  `json:"use_weighting,omitempty"`
		Tau            *float64               `json:"discopop_tau,omitempty"`
	}
	var in struct {
		InputIDs       [][]int32     `json:"input_ids"`
		AttentionMask  [][]int       `json:"attention_mask,omitempty"`
		CompletionMask [][]int       `json:"completion_mask"`
		Logits         [][][]float64 `json:"logits"`
		RefLogits      [][][]float64 `json:"ref_logits"`
		Note           *string       `json:"note,omitempty"`
	}
	if err := configAndInputs(req, &c, &in); err != nil {
		return nil, err
	}
	if len(c.LossTypes) == 0 || c.LossWeights != nil && len(c.LossWeights) != len(c.LossTypes) {
		return nil, fmt.Errorf("config: %d loss_types and %d loss_weights: give at least one type, and a weight for each or none", len(c.LossTypes), len(c.LossWeights))
	}
	dpo := objective.DPO{
		Beta: or(c.Beta, 0.1), LabelSmoothing: or(c.LabelSmoothing, 0), Divergence: or(c.Divergence, objective.ReverseKL),
		Alpha: or(c.Alpha, 0.5), LDAlpha: c.LDAlpha, WPO: or(c.UseWeighting, false), Tau: or(c.Tau, 0),
	}
	for i, l := range c.LossTypes {
		term := objective.PairTerm{Loss: l, Weight: 1}
		if c.LossWeights != nil {
			term.Weight = c.LossWeights[i]
		}
		dpo.Losses = append(dpo.Losses, term)
	}
	mask, err := boolMask("completion_mask", in.CompletionMask)
	if err != nil {
		return nil, err
	}
	loss, grad, err := dpo.EvalLogits(&objective.LogitBatch{Tokens: in.InputIDs, Mask: mask, Logits: in.Logits, Ref: in.RefLogits})
	return logitLoss{loss, grad}, err
}

func trlKTO(req lossRequest) (any, error) {
	var c struct {
		LossType    objective.UnpairedLoss `json:"loss_type"`
		Beta        *float64               `json:"beta,omitempty"`
		Desirable   *float64               `json:"desirable_weight,omitempty"`
		Undesirable *float64               `json:"undesirable_weight,omitempty"`
	}
	var in struct {
		InputIDs       [][]int32     `json:"input_ids"`
		AttentionMask  [][]int       `json:"attention_mask,omitempty"`
		CompletionMask [][]int       `json:"completion_mask"`
		Label          []bool        `json:"label"`
		Logits         [][][]float64 `json:"logits"`
		RefLogits      [][][]float64 `json:"ref_logits"`
		KLLogps        []float64     `json:"KL_logps,omitempty"`
		RefKLLogps     []float64     `json:"ref_KL_logps,omitempty"`
		Note           *string       `json:"note,omitempty"`
	}
	if err := configAndInputs(req, &c, &in); err != nil {
		return nil, err
	}
	if c.LossType == objective.UnpairedBCO {
		return nil, errors.New("config: loss_type bco is not one of TRL's KTOTrainer: give kto or apo_zero_unpaired")
	}
	kto := objective.KTO{Loss: c.LossType, Beta: or(c.Beta, 0.1), Desirable: or(c.Desirable, 1), Undesirable: or(c.Undesirable, 1)}
	mask, err := boolMask("completion_mask", in.CompletionMask)
	if err == nil && c.LossType == objective.UnpairedKTO {
		kto.KL, err = objective.KLBaseline(in.KLLogps, in.RefKLLogps)
	}
	if err != nil {
		return nil, err
	}
	loss, grad, err := kto.EvalLogits(&objective.LogitBatch{Tokens: in.InputIDs, Mask: mask, Logits: in.Logits, Ref: in.RefLogits}, in.Label)
	return logitLoss{loss, grad}, err
}
