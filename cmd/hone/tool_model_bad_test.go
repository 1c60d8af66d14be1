package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func replyTo(t *testing.T, line string, args ...string) map[string]json.RawMessage {
	t.Helper()
	return runVerb(t, []any{json.RawMessage(line)}, args...)[0]
}

func TestGenerateSamples(t *testing.T) {
	model := sharedPath(t, "models", "tiny", "llama")
	args := []string{"generate", "--model", model}
	line := `{"tokens": [5, 6], "max_new_tokens": 12, "temperature": 1, "seed": 7, "n": 3}`
	samples := get[[][]int32](t, replyTo(t, line, args...), "samples")
	if len(samples) != 3 || len(samples[0]) != 12 || asJSON(samples[0]) == asJSON(samples[1]) {
		t.Fatalf("got %v", samples)
	}
	if again := get[[][]int32](t, replyTo(t, line, args...), "samples"); asJSON(again) != asJSON(samples) {
		t.Errorf("the same seed gives %v and then %v", samples, again)
	}
	// A sample depends on its seed and number alone, not on how many are drawn beside it.
	one := get[[]int32](t, replyTo(t, strings.Replace(line, `"n": 3`, `"n": 1`, 1), args...), "tokens")
	if asJSON(one) != asJSON(samples[0]) {
		t.Errorf("alone %v, with others %v", one, samples[0])
	}
	other := get[[]int32](t, replyTo(t, `{"tokens": [5, 6], "max_new_tokens": 12, "temperature": 1, "seed": 8}`, args...), "tokens")
	if asJSON(other) == asJSON(one) {
		t.Errorf("two seeds give the same %v", one)
	}
	greedy := get[[]int32](t, replyTo(t, `{"tokens": [5, 6], "max_new_tokens": 12}`, args...), "tokens")
	if first := get[[]int32](t, replyTo(t, `{"tokens": [5, 6], "max_new_tokens": 12, "temperature": 1, "seed": 3, "top_k": 1}`, args...), "tokens"); asJSON(first) != asJSON(greedy) {
		t.Errorf("top_k 1 gives %v, greedy %v", first, greedy)
	}
	stop, _ := json.Marshal(greedy[3:4])
	got := get[[]int32](t, replyTo(t, `{"tokens": [5, 6], "max_new_tokens": 12, "stop_tokens": `+string(stop)+`}`, args...), "tokens")
	if last := len(got) - 1; last > 3 || got[last] != greedy[3] {
		t.Errorf("stopped after %v, want the stop token %d at the end", got, greedy[3])
	}
}

func asJSON(v any) string {
	s, _ := json.Marshal(v)
	return string(s)
}

func TestModelVerbsRefuse(t *testing.T) {
	model := sharedPath(t, "models", "tiny", "llama")
	optim := `"optimizer": {"lr": 0.001, "beta1": 0.9, "beta2": 0.95, "eps": 1e-8, "weight_decay": 0, "clip": 1, "schedule": "constant", "warmup_steps": 0, "total_steps": 1, "min_lr": 0}`
	seq := `{"tokens": [1, 2, 3], "weights": [0, 1, 1]}`
	rl := `{"tokens": [1, 2], "weights": [0, 1], "sampled": [null, -1], "reward": 1, "group": 1}`
	for _, c := range []struct{ verb, line, want string }{
		{"logprobs", `{"tokens": []}`, "tokens is empty"},
		{"logprobs", `{"tokens": [288]}`, "ids go from 0 to 287"},
		{"logprobs", `{"tokens": [1], "entropy": true}`, `unknown field "entropy"`},
		{"logprobs", `{}`, `field "tokens" is missing`},
		{"generate", `{"tokens": [1], "max_new_tokens": 1, "temperature": 1}`, `needs "seed"`},
		{"generate", `{"tokens": [1], "max_new_tokens": 128}`, "do not fit the model's context of 128"},
		{"generate", `{"tokens": [1], "max_new_tokens": -1}`, "max_new_tokens is -1"},
		{"generate", `{"tokens": [1], "max_new_tokens": 1, "temperature": -1}`, "temperature is -1"},
		{"generate", `{"tokens": [1], "max_new_tokens": 1, "top_p": 2}`, "top_p is 2"},
		{"generate", `{"tokens": [1], "max_new_tokens": 1, "n": 0}`, "n is 0"},
		{"train-steps", `{"kind": "ppo", ` + optim + `, "steps": []}`, `kind "ppo": give sft, dpo or grpo`},
		{"train-steps", `{"kind": "sft", "beta": 1, ` + optim + `, "steps": []}`, `field "beta" belongs to kind dpo grpo`},
		{"train-steps", `{"kind": "dpo", ` + optim + `, "steps": []}`, `field "beta" is missing`},
		{"train-steps", `{"kind": "sft", ` + strings.Replace(optim, "constant", "wsd", 1) + `, "steps": []}`, "optimizer.schedule"},
		{"train-steps", `{"kind": "sft", ` + optim + `, "steps": [{"sequences": [{"tokens": [1, 2], "weights": [1]}]}]}`, "2 tokens and 1 weights"},
		{"train-steps", `{"kind": "sft", ` + optim + `, "steps": [{"sequences": [{"tokens": [1, 2], "weights": [1, 0]}]}]}`, "steps[0]: no token"},
		{"train-steps", `{"kind": "sft", ` + optim + `, "steps": [{"sequences": [` + seq + `], "micro_batches": [[0], [0]]}]}`, "must stand there once"},
		{"train-steps", `{"kind": "sft", ` + optim + `, "steps": [{"sequences": [` + seq + `], "micro_batches": [[]]}]}`, "name 0 of 1"},
		{"train-steps", `{"kind": "sft", ` + optim + `, "steps": [{"pairs": []}]}`, "has the field sequences"},
		{"train-steps", `{"kind": "sft", ` + optim + `, "steps": [{"sequences": [` + rl + `]}]}`, "belong to kind grpo"},
		{"train-steps", `{"kind": "sft", ` + optim + `, "steps": [], "decayed": ["x"]}`, "decayed"},
		{"train-steps", `{"kind": "grpo", "beta": 0, "clip_range": 0.2, "advantage_eps": 0, ` + optim + `, "steps": [{"sequences": [` + rl + `]}]}`, "at least two rewards"},
		{"train-steps", `{"kind": "grpo", "beta": 0, "clip_range": 0.2, "advantage_eps": 0, ` + optim + `, "steps": [{"sequences": [` + rl + `, ` + strings.Replace(rl, "-1", "null", 1) + `]}]}`, "is null, but the token has a weight"},
		{"train-steps", `{"kind": "dpo", "beta": 1, ` + optim + `, "steps": [{"pairs": [{"chosen": ` + seq + `, "rejected": {"tokens": [1], "weights": [1]}}]}]}`, "pairs[0].rejected has no token with a weight"},
	} {
		r := replyTo(t, c.line, c.verb, "--model", model)
		if r["error"] == nil || !strings.Contains(get[string](t, r, "error"), c.want) {
			t.Errorf("%s %s\ngot  %s\nwant %s", c.verb, c.line, show(r), c.want)
		}
	}
}

// TestTrainStepsBetaZero: without a penalty the stream is dropped, but the distance from the start is still reported.
func TestTrainStepsBetaZero(t *testing.T) {
	model := sharedPath(t, "models", "tiny", "llama")
	line := `{"kind": "grpo", "beta": 0, "clip_range": 0.2, "advantage_eps": 0.0001, "updates_per_batch": 2,
		"optimizer": {"lr": 0.01, "beta1": 0.9, "beta2": 0.95, "eps": 1e-8, "weight_decay": 0, "clip": 1, "schedule": "constant", "warmup_steps": 0, "total_steps": 2, "min_lr": 0},
		"steps": [{"sequences": [{"tokens": [1, 2, 3], "weights": [0, 1, 1], "sampled": [null, -5, -5], "reward": 1, "group": 1},
			{"tokens": [1, 4, 5], "weights": [0, 1, 1], "sampled": [null, -5, -5], "reward": 0, "group": 1}]}]}`
	steps := get[[]map[string]any](t, replyTo(t, line, "train-steps", "--model", model), "steps")
	if len(steps) != 2 || steps[0]["kl"] != 0.0 || steps[1]["kl"].(float64) <= 0 {
		t.Errorf("got %v", steps)
	}
}

func TestModelVerbsBadCall(t *testing.T) {
	for _, args := range [][]string{{"tool", "logprobs"}, {"tool", "logprobs", "--model", t.TempDir()}, {"tool", "encode", "--tokenizer", "nothing"}} {
		code, out, errOut := runHone(t, args...)
		if code != 2 || out != "" || !strings.HasPrefix(errOut, "hone: ") {
			t.Errorf("%v: exit status %d, %q, %q", args, code, out, errOut)
		}
	}
}

// TestTrainStepsDropout: dropout is off, also for an adapter that was made with it.
func TestTrainStepsDropout(t *testing.T) {
	shared := sharedPath(t, "models", "trajectories", "lora-sft-llama")
	dir := t.TempDir()
	weights, err := os.ReadFile(filepath.Join(shared, "adapter", "adapter_model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile(filepath.Join(shared, "adapter", "adapter_config.json"))
	if err != nil {
		t.Fatal(err)
	}
	var trajectory struct{ Input json.RawMessage }
	data, err := os.ReadFile(filepath.Join(shared, "trajectory.json"))
	if err != nil || json.Unmarshal(data, &trajectory) != nil {
		t.Fatal("trajectory.json cannot be read: ", err)
	}
	var line bytes.Buffer
	if err := json.Compact(&line, trajectory.Input); err != nil {
		t.Fatal(err)
	}
	model := sharedPath(t, "models", "tiny", "llama")
	want := replyTo(t, line.String(), "train-steps", "--model", model, "--adapter", filepath.Join(shared, "adapter"))
	with := bytes.Replace(config, []byte(`"lora_dropout": 0.0`), []byte(`"lora_dropout": 0.1`), 1)
	if bytes.Equal(with, config) {
		t.Fatal("adapter_config.json has no lora_dropout of 0.0")
	}
	for name, data := range map[string][]byte{"adapter_model.safetensors": weights, "adapter_config.json": with} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got := replyTo(t, line.String(), "train-steps", "--model", model, "--adapter", dir)
	if got["steps"] == nil || !bytes.Equal(got["steps"], want["steps"]) {
		t.Errorf("got %.200s, want %.200s", show(got), show(want))
	}
}
