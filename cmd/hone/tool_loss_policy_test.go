package main

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
)

// lossCase is one recorded case: the line to send, and the results that its publisher's own functions gave.
type lossCase struct {
	name string
	line map[string]any
	want map[string]json.RawMessage
}

// split takes a case's results out of it.
func splitCase(c map[string]json.RawMessage, results ...string) (rest, want map[string]json.RawMessage) {
	rest, want = map[string]json.RawMessage{}, map[string]json.RawMessage{}
	for k, v := range c {
		rest[k] = v
	}
	for _, r := range append(results, "metrics") {
		if v, ok := c[r]; ok && r != "metrics" {
			want[r] = v
		}
		delete(rest, r)
	}
	return rest, want
}

// numbers flattens a JSON value of nested lists of numbers.
func numbers(t *testing.T, raw json.RawMessage) []float64 {
	t.Helper()
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	var out []float64
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case float64:
			out = append(out, v)
		case []any:
			for _, x := range v {
				walk(x)
			}
		default:
			t.Fatalf("%v in a list of numbers", v)
		}
	}
	walk(v)
	return out
}

// holdLosses compares every result with the recorded one: |difference| <= rel |recorded| + abs.
func holdLosses(t *testing.T, cases []lossCase, rel, abs float64) {
	t.Helper()
	var lines []any
	for _, c := range cases {
		lines = append(lines, c.line)
	}
	for i, r := range runVerb(t, lines, "loss") {
		if len(r) != len(cases[i].want) {
			t.Errorf("%s: %s", cases[i].name, show(r))
			continue
		}
		for field, raw := range cases[i].want {
			got, want := numbers(t, get[json.RawMessage](t, r, field)), numbers(t, raw)
			if len(got) != len(want) {
				t.Errorf("%s: %s has %d numbers, want %d", cases[i].name, field, len(got), len(want))
				continue
			}
			for k := range got {
				if math.Abs(got[k]-want[k]) > rel*math.Abs(want[k])+abs {
					t.Errorf("%s: %s[%d] = %.10g, want %.10g", cases[i].name, field, k, got[k], want[k])
					break
				}
			}
		}
	}
	t.Logf("%d cases", len(cases))
}

func TestLossGRPO(t *testing.T) {
	var file struct {
		Inputs []map[string]json.RawMessage
		Cases  []map[string]json.RawMessage
	}
	readJSON(t, sharedPath(t, "data", "loss_vectors", "trl_grpo.json"), &file)
	var cases []lossCase
	for i, c := range file.Cases {
		_, want := splitCase(c, "loss", "grad_per_token_logps")
		line := map[string]any{"source": "trl_grpo", "config": c["config"], "inputs": file.Inputs[get[int](t, c, "input")]}
		cases = append(cases, lossCase{fmt.Sprintf("case %d %s", i, c["config"]), line, want})
	}
	holdLosses(t, cases, 1e-7, 2e-9) // inputs and results have nine digits
}

func TestLossVerl(t *testing.T) {
	var file map[string][]map[string]json.RawMessage
	readJSON(t, sharedPath(t, "data", "loss_vectors", "verl_core_algos.json"), &file)
	for section, results := range map[string][]string{
		"adv": {"advantages", "advantages_whitened", "returns"}, "policy": {"loss", "grad_log_prob"}, "kl": {"kl"}, "value": {"loss", "clipfrac", "grad_vpreds"},
	} {
		var cases []lossCase
		for i, c := range file[section] {
			rest, want := splitCase(c, results...)
			cases = append(cases, lossCase{fmt.Sprintf("%s %d %s", section, i, c["name"]), map[string]any{"source": "verl_" + section, "case": rest}, want})
		}
		if len(cases) == 0 {
			t.Errorf("no case of %s", section)
		}
		holdLosses(t, cases, 1e-7, 1e-8)
	}
}

func TestLossTinker(t *testing.T) {
	var file struct{ Cases []map[string]json.RawMessage }
	readJSON(t, sharedPath(t, "tinker", "loss_vectors.json"), &file)
	var cases []lossCase
	for i, c := range file.Cases {
		rest, want := splitCase(c, "token_loss", "loss_sum", "dloss_dlogprob")
		cases = append(cases, lossCase{fmt.Sprintf("case %d %s", i, c["loss_fn"]), map[string]any{"source": "tinker", "case": rest}, want})
	}
	holdLosses(t, cases, 1e-13, 1e-14)
}

// Lines without a file beside them: the reply, an error that names its place, or the name of what is not built.
func TestLossLines(t *testing.T) {
	raw := func(s string) any { return json.RawMessage(s) }
	const inputs = `"per_token_logps": [[-1, -1]], "advantages": [1], "completion_mask": [[1, 0]]`
	const policy = `"loss_agg_mode": "token-mean", "old_log_prob": [[-1]], "log_prob": [[-1]], "advantages": [[2]], "response_mask": [[1]]`
	for _, c := range []struct{ line, want string }{
		{`{"source": "trl_grpo", "config": {"loss_type": "grpo"}, "inputs": {` + inputs + `, "note": "on policy"}}`, `{"grad_per_token_logps":[[-1,0]],"loss":-1}`},
		{`{"source": "trl_grpo", "config": {"loss_type": "grpo", "betta": 1}, "inputs": {` + inputs + `}}`, `error: config: unknown field \"betta\": did you mean \"beta\"?`},
		{`{"source": "trl_grpo", "config": {"loss_type": "grpo"}, "inputs": {` + inputs + `, "tool_mask": [[1, 1]]}}`, `error: inputs: unknown field \"tool_mask\"`},
		{`{"source": "trl_grpo", "config": {"loss_type": "grpo"}}`, `error: field \"inputs\" is missing`},
		{`{"source": "trl_grpo", "config": 3, "inputs": {}}`, `error: field \"config\": expected an object`},
		{`{"source": "trl_grpo", "config": {"loss_type": "grpo"}, "inputs": {}, "case": {}}`, `error: field \"case\" does not belong to source trl_grpo`},
		{`{"source": "trl_grpo", "config": {"loss_type": "reinforce"}, "inputs": {` + inputs + `}}`, `unsupported: reinforce`},
		{`{"source": "verl_policy", "case": {"name": "vanilla", "config": {}, ` + policy + `, "loss": 7, "metrics": {}, "note": ""}}`, `{"grad_log_prob":[[-2]],"loss":-2}`},
		{`{"source": "verl_policy", "case": {"name": "clip_cov", "config": {}, ` + policy + `}}`, `unsupported: clip_cov`},
		{`{"source": "verl_policy", "case": {"name": "vanilla", "config": {"clip": 0.1}, ` + policy + `}}`, `error: case: field \"config\"`},
		{`{"source": "verl_policy", "case": {"name": "vanilla", "config": {"clip_ratio_c": 1}, ` + policy + `}}`, `error: clip_ratio_c is 1`},
		{`{"source": "verl_kl", "case": {"name": "k2", "log_prob": [[-1]], "ref_log_prob": [[-3]]}}`, `{"kl":[[2]]}`},
		{`{"source": "verl_kl", "case": {"name": "full", "log_prob": [[-1]], "ref_log_prob": [[-3]]}}`, `unsupported: full`},
		{`{"source": "verl_kl", "case": {"name": "k1", "log_prob": [[-1e308]], "ref_log_prob": [[1e308]]}}`, `error: the result is not finite`},
		{`{"source": "verl_adv", "case": {"name": "rloo", "args": {}, "token_level_rewards": [[1], [0]], "response_mask": [[1], [1]], "index": ["a", "a"]}}`, `{"advantages":[[1],[-1]]}`},
		{`{"source": "verl_adv", "case": {"name": "gdpo", "args": {}, "token_level_rewards": [[1]], "response_mask": [[1]]}}`, `unsupported: gdpo`},
		{`{"source": "verl_value", "case": {"vpreds": [[1]], "values": [[1]], "returns": [[3]], "response_mask": [[1]], "cliprange_value": 0.5, "loss_agg_mode": "token-mean"}}`, `{"clipfrac":0,"grad_vpreds":[[-2]],"loss":2}`},
		{`{"source": "tinker", "case": {"loss_fn": "ppo", "shape": [1], "target_logprobs": [-1], "logprobs": [-1], "advantages": [2]}}`, `{"dloss_dlogprob":[-2],"loss_sum":-2,"token_loss":[-2]}`},
		{`{"source": "tinker", "case": {"loss_fn": "gspo", "shape": [1], "target_logprobs": [-1], "logprobs": [-1], "advantages": [2]}}`, `unsupported: gspo`},
		{`{"source": "tinker", "case": {"loss_fn": "importance_sampling", "shape": [1], "target_logprobs": [900], "logprobs": [-1], "advantages": [2]}}`, `error: the result is not finite`},
		{`{"source": "nemo"}`, `unsupported: nemo`},
	} {
		r := runVerb(t, []any{raw(c.line)}, "loss")[0]
		got, _ := json.Marshal(r)
		want := c.want
		if what, text, named := strings.Cut(c.want, ": "); named && (what == "error" || what == "unsupported") {
			want = `{"` + what + `":"` + text
		}
		if !strings.HasPrefix(string(got), want) {
			t.Errorf("%s\n got %s\nwant %s", c.line, got, want)
		}
	}
}
