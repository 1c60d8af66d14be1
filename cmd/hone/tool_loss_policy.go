package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/hone-lm/hone/objective/trainers"
)

func trlGRPO(req lossRequest) (any, error) {
	if err := lossParts(req, "config", "inputs"); err != nil {
		return nil, err
	}
	config := trainers.DefaultGRPO()
	if err := decodeOver("config", req.Config, &config, "note"); err != nil {
		return nil, err
	}
	var in trainers.GRPOInputs
	if err := decodeOver("inputs", req.Inputs, &in, "note"); err != nil {
		return nil, err
	}
	loss, grad, err := trainers.GRPO(config, in)
	return map[string]any{"loss": loss, "grad_per_token_logps": grad}, notBuilt(err)
}

func verlPolicy(req lossRequest) (any, error) {
	var c trainers.VerlPolicy
	if err := decodeCase(req, &c, "loss", "grad_log_prob"); err != nil {
		return nil, err
	}
	loss, grad, err := c.Loss()
	return map[string]any{"loss": loss, "grad_log_prob": grad}, notBuilt(err)
}

func verlValue(req lossRequest) (any, error) {
	var c trainers.VerlValue
	if err := decodeCase(req, &c, "loss", "clipfrac", "grad_vpreds"); err != nil {
		return nil, err
	}
	loss, clipped, grad, err := c.Loss()
	return map[string]any{"loss": loss, "clipfrac": clipped, "grad_vpreds": grad}, notBuilt(err)
}

func verlKL(req lossRequest) (any, error) {
	var c trainers.VerlKL
	if err := decodeCase(req, &c, "kl"); err != nil {
		return nil, err
	}
	kl, err := c.Penalty()
	return map[string]any{"kl": kl}, notBuilt(err)
}

func verlAdvantage(req lossRequest) (any, error) {
	var c trainers.VerlAdvantage
	if err := decodeCase(req, &c, "advantages", "advantages_whitened", "returns"); err != nil {
		return nil, err
	}
	advantages, returns, err := c.Advantages()
	switch c.Name {
	case "gae":
		return map[string]any{"advantages_whitened": advantages, "returns": returns}, notBuilt(err)
	case "reinforce_plus_plus", "remax":
		return map[string]any{"advantages": advantages, "returns": returns}, notBuilt(err)
	}
	return map[string]any{"advantages": advantages}, notBuilt(err)
}

func tinkerLoss(req lossRequest) (any, error) {
	var c trainers.Tinker
	if err := decodeCase(req, &c, "token_loss", "loss_sum", "dloss_dlogprob"); err != nil {
		return nil, err
	}
	token, sum, grad, err := c.Eval()
	return map[string]any{"token_loss": token, "loss_sum": sum, "dloss_dlogprob": grad}, notBuilt(err)
}

// lossParts checks that a request has exactly the named parts.
func lossParts(r lossRequest, names ...string) error {
	for _, part := range []struct {
		name string
		raw  json.RawMessage
	}{{"config", r.Config}, {"inputs", r.Inputs}, {"case", r.Case}} {
		switch wanted := slices.Contains(names, part.name); {
		case wanted && part.raw == nil:
			return fmt.Errorf("field %q is missing: source %s reads %q", part.name, r.Source, names)
		case !wanted && part.raw != nil:
			return fmt.Errorf("field %q does not belong to source %s, which reads %q", part.name, r.Source, names)
		}
	}
	return nil
}

// decodeCase reads the request's case. A note, metrics and the results that the case was recorded with are passed over.
func decodeCase(req lossRequest, into any, results ...string) error {
	if err := lossParts(req, "case"); err != nil {
		return err
	}
	return decodeOver("case", req.Case, into, append(results, "note", "metrics")...)
}

// decodeOver reads one part of a request strictly, but for the fields to pass over.
func decodeOver(name string, raw json.RawMessage, into any, over ...string) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return fmt.Errorf("field %q: expected an object", name)
	}
	for _, f := range over {
		delete(fields, f)
	}
	rest, err := json.Marshal(fields)
	if err != nil {
		return fmt.Errorf("field %q: %w", name, err)
	}
	if err := decodeRequest(rest, into); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// notBuilt turns a name that the trainers' losses do not know into the verb's answer for it.
func notBuilt(err error) error {
	var u *trainers.UnsupportedError
	if errors.As(err, &u) {
		return unsupported(u.Name)
	}
	return err
}
