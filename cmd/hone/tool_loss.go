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
