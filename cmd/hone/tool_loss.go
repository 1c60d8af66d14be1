package main

import "encoding/json"

type lossVerb struct{}

func (lossVerb) Help() string {
	return `Fields: "source" and, by source, "config" with "inputs", or "case".

  trl_grpo     config, inputs  ->  loss, grad_per_token_logps
  verl_policy  case            ->  loss, grad_log_prob
  verl_value   case            ->  loss, clipfrac, grad_vpreds
  verl_kl      case            ->  kl
  verl_adv     case            ->  advantages (returns too where they differ; gae: advantages_whitened, returns)
  tinker       case            ->  token_loss, loss_sum, dloss_dlogprob
  trl_dpo      config, inputs  ->  loss, grad_logits
  trl_kto      config, inputs  ->  loss, grad_logits

Any other source is answered {"unsupported": SOURCE}.

trl_dpo (TRL's DPOTrainer, first half of the rows chosen, second half rejected): "config": "loss_types" and optionally "loss_weights", "beta"
(0.1), "label_smoothing", "f_divergence_type", "f_alpha_divergence_coef" (0.5), "ld_alpha", "use_weighting", "discopop_tau" (0.05);
"inputs": "input_ids", "completion_mask" [row][token], "logits", "ref_logits" [row][token][id], optionally "attention_mask" and "note".

trl_kto (TRL's KTOTrainer): "config": "loss_type" and optionally "beta" (0.1), "desirable_weight" (1), "undesirable_weight" (1); "inputs": as
above, with "label" [row], and for kto "KL_logps" and "ref_KL_logps".

Both reply with the loss and its derivative by the logits.

  $ jq -c '{source: "trl_dpo", config: .cases[0].config, inputs: .inputs[0]}' ../shared/data/loss_vectors/trl_dpo.json | hone tool loss
  {"loss":0.7264690118135326,"grad_logits":[[[0,0,0,0,0,0,0],[0.0007000007909102189, ...], ...], ...]}

  $ echo '{"source": "tinker", "case": {"loss_fn": "ppo", "shape": [1], "target_logprobs": [-1], "logprobs": [-1], "advantages": [2]}}' | hone tool loss
  {"dloss_dlogprob":[-2],"loss_sum":-2,"token_loss":[-2]}`
}

// lossRequest is one line of the verb; sources decode the parts that they read.
type lossRequest struct {
	Source string          `json:"source"`
	Config json.RawMessage `json:"config,omitempty"`
	Inputs json.RawMessage `json:"inputs,omitempty"`
	Case   json.RawMessage `json:"case,omitempty"`
}

// lossSources serve a request by its source.
var lossSources = map[string]func(lossRequest) (any, error){
	"trl_grpo":    trlGRPO,
	"verl_policy": verlPolicy,
	"verl_value":  verlValue,
	"verl_kl":     verlKL,
	"verl_adv":    verlAdvantage,
	"tinker":      tinkerLoss,
	"trl_dpo":     trlDPO,
	"trl_kto":     trlKTO,
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
