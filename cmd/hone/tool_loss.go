package main

import "encoding/json"

type lossVerb struct{}

func (lossVerb) Help() string {
	return `Fields: "source", whose inputs these are, and what that source takes. Others are answered {"unsupported": SOURCE}.

trl_dpo (TRL's DPOTrainer, first half of the rows chosen, second half rejected): "config": "loss_types" and optionally "loss_weights", "beta"
(0.1), "label_smoothing", "f_divergence_type", "f_alpha_divergence_coef" (0.5), "ld_alpha", "use_weighting", "discopop_tau" (0.05);
"inputs": "input_ids", "completion_mask" [row][token], "logits", "ref_logits" [row][token][id], optionally "attention_mask" and "note".

trl_kto (TRL's KTOTrainer): "config": "loss_type" and optionally "beta" (0.1), "desirable_weight" (1), "undesirable_weight" (1); "inputs": as
above, with "label" [row], and for kto "KL_logps" and "ref_KL_logps".

Both reply with the loss and its derivative by the logits.

  $ jq -c '{source: "trl_dpo", config: .cases[0].config, inputs: .inputs[0]}' ../shared/data/loss_vectors/trl_dpo.json | hone tool loss
  {"loss":0.7264690118135326,"grad_logits":[[[0,0,0,0,0,0,0],[0.0007000007909102189, ...], ...], ...]}`
}

// lossRequest is one line: config and inputs, or the case, stay raw until the source reads them.
type lossRequest struct {
	Source string          `json:"source"`
	Config json.RawMessage `json:"config,omitempty"`
	Inputs json.RawMessage `json:"inputs,omitempty"`
	Case   json.RawMessage `json:"case,omitempty"`
}

// lossSources serve a request by its source.
var lossSources = map[string]func(req lossRequest) (any, error){
	"trl_dpo": trlDPO,
	"trl_kto": trlKTO,
}

func (lossVerb) Run(a *app) error {
	return a.serve(func(line []byte) (any, error) {
		var req lossRequest
		if err := decodeRequest(line, &req); err != nil {
			return nil, err
		}
		serve, ok := lossSources[req.Source]
		if !ok {
			return nil, unsupported(req.Source)
		}
		return serve(req)
	})
}
