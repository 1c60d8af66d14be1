package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// expectedModel is an expected.json of ../shared/models.
type expectedModel struct {
	Model, Adapter string
	Sequences      []struct {
		Tokens            []int32
		Logprobs, Entropy []*float64
	}
	LogitsLast  [][]float64 `json:"logits_last"`
	Generations []struct {
		Prompt, Tokens, Continuation []int32
		MaxNewTokens                 int `json:"max_new_tokens"`
		Temperature                  float64
		Gaps                         []float64
	}
	Tolerance struct {
		Logprobs, Entropy, Gap float64
		LogitsLast             float64 `json:"logits_last"`
	}
}

func expectedFiles(t *testing.T) []string {
	root := sharedPath(t, "models")
	var files []string
	for _, pattern := range []string{"tiny/*/expected.json", "gguf/*.expected.json", "peft/*/expected.json", "smollm2-*/expected.json"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("nothing matches %s below %s: %v", pattern, root, err)
		}
		files = append(files, found...)
	}
	return files
}

func modelArgs(file, model, adapter string) []string {
	dir := filepath.Dir(file)
	args := []string{"--model", filepath.Join(dir, model)}
	if adapter != "" {
		args = append(args, "--adapter", filepath.Join(dir, adapter))
	}
	return args
}

// TestModelsConform compares log-probs, entropies, logits and greedy continuations with transformers.
func TestModelsConform(t *testing.T) {
	root := sharedPath(t, "models")
	for _, file := range expectedFiles(t) {
		name, _ := filepath.Rel(root, file)
		t.Run(filepath.ToSlash(name), func(t *testing.T) {
			if testing.Short() && strings.Contains(name, "smollm2") {
				t.Skip("a model of 135 M parameters takes more than two seconds")
			}
			var want expectedModel
			readJSON(t, file, &want)
			args := modelArgs(file, want.Model, want.Adapter)
			compareSequences(t, &want, args)
			compareGenerations(t, &want, args)
		})
	}
}

func compareSequences(t *testing.T, want *expectedModel, args []string) {
	var lines []any
	for _, s := range want.Sequences {
		lines = append(lines, map[string]any{"tokens": s.Tokens, "logits_last": want.LogitsLast != nil})
	}
	worst := map[string]float64{}
	for i, r := range runVerb(t, lines, append([]string{"logprobs"}, args...)...) {
		s := want.Sequences[i]
		worst["logprobs"] = max(worst["logprobs"], deviation(t, get[[]*float64](t, r, "logprobs"), s.Logprobs))
		worst["entropy"] = max(worst["entropy"], deviation(t, get[[]*float64](t, r, "entropy"), s.Entropy))
		if want.LogitsLast != nil {
			got := get[[]float64](t, r, "logits_last")
			if len(got) != len(want.LogitsLast[i]) {
				t.Fatalf("sequence %d: %d logits, want %d", i, len(got), len(want.LogitsLast[i]))
			}
			for k, z := range got {
				worst["logits_last"] = max(worst["logits_last"], math.Abs(z-want.LogitsLast[i][k]))
			}
		}
	}
	for kind, limit := range map[string]float64{"logprobs": want.Tolerance.Logprobs, "entropy": want.Tolerance.Entropy, "logits_last": want.Tolerance.LogitsLast} {
		if worst[kind] > limit {
			t.Errorf("%s are off by up to %g, allowed are %g", kind, worst[kind], limit)
		}
	}
	t.Logf("%d sequences, worst %v", len(lines), worst)
}

// deviation is the largest difference of two lists whose nulls must stand in the same places.
func deviation(t *testing.T, got, want []*float64) float64 {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d entries, want %d", len(got), len(want))
	}
	worst := 0.0
	for i := range got {
		if (got[i] == nil) != (want[i] == nil) {
			t.Fatalf("entry %d: null in one list and not in the other", i)
		}
		if got[i] != nil {
			worst = max(worst, math.Abs(*got[i]-*want[i]))
		}
	}
	return worst
}

func compareGenerations(t *testing.T, want *expectedModel, args []string) {
	var lines []any
	for _, g := range want.Generations {
		prompt := g.Prompt
		if prompt == nil {
			prompt = g.Tokens
		}
		lines = append(lines, map[string]any{"tokens": prompt, "max_new_tokens": g.MaxNewTokens, "temperature": g.Temperature})
	}
	compared := 0
	for i, r := range runVerb(t, lines, append([]string{"generate"}, args...)...) {
		g, got := want.Generations[i], get[[]int32](t, r, "tokens")
		if len(got) != len(g.Continuation) {
			t.Errorf("generation %d: %d tokens, want %d", i, len(got), len(g.Continuation))
			continue
		}
		for k := range got {
			if got[k] != g.Continuation[k] {
				if g.Gaps[k] >= want.Tolerance.Gap {
					t.Errorf("generation %d, token %d: %d, want %d, whose logit is better by %g", i, k, got[k], g.Continuation[k], g.Gaps[k])
				}
				break // what follows cannot be compared
			}
			compared++
		}
	}
	t.Logf("%d continuations, %d tokens compared", len(lines), compared)
}

// trajectory is a trajectory.json of ../shared/models/trajectories.
type trajectory struct {
	Model, Adapter string
	Input          json.RawMessage
	Expected       struct {
		Steps      []map[string]json.RawMessage
		Probes     []struct{ Logprobs []*float64 }
		ParamNorms map[string]float64 `json:"param_norms"`
	}
	Tolerance struct {
		Loss, Probes, Other float64
		GradNorm            float64            `json:"grad_norm_relative"`
		LR                  float64            `json:"lr_relative"`
		ParamNorms          float64            `json:"param_norms_relative"`
		ParamNormsFor       map[string]float64 `json:"param_norms_relative_for"`
	}
}

// TestTrajectories trains on PyTorch's batches and compares every update, the probes and the final weights.
func TestTrajectories(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(sharedPath(t, "models", "trajectories"), "*", "trajectory.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no trajectories: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(filepath.Dir(file)), func(t *testing.T) {
			var want trajectory
			readJSON(t, file, &want)
			// The second line must start from the files' weights again.
			replies := runVerb(t, []any{want.Input, want.Input}, append([]string{"train-steps"}, modelArgs(file, want.Model, want.Adapter)...)...)
			if show(replies[0]) != show(replies[1]) || string(replies[0]["param_norms"]) != string(replies[1]["param_norms"]) {
				t.Error("the same line twice gives two results")
			}
			compareTrajectory(t, &want, replies[0])
		})
	}
}

func compareTrajectory(t *testing.T, want *trajectory, got map[string]json.RawMessage) {
	steps := get[[]map[string]json.RawMessage](t, got, "steps")
	if len(steps) != len(want.Expected.Steps) {
		t.Fatalf("%d updates, want %d", len(steps), len(want.Expected.Steps))
	}
	for i, w := range want.Expected.Steps {
		for _, field := range slices.Sorted(maps.Keys(w)) {
			if err := sameFigure(field, steps[i][field], w[field], want); err != nil {
				t.Errorf("update %d, %s: %v", i, field, err)
			}
		}
	}
	probes := get[[]struct{ Logprobs []*float64 }](t, got, "probes")
	if len(probes) != len(want.Expected.Probes) {
		t.Fatalf("%d probes, want %d", len(probes), len(want.Expected.Probes))
	}
	for i, p := range probes {
		if d := deviation(t, p.Logprobs, want.Expected.Probes[i].Logprobs); d > want.Tolerance.Probes {
			t.Errorf("probe %d is off by %g", i, d)
		}
	}
	norms := get[map[string]float64](t, got, "param_norms")
	if len(norms) != len(want.Expected.ParamNorms) {
		t.Errorf("%d tensors, want %d", len(norms), len(want.Expected.ParamNorms))
	}
	for _, name := range slices.Sorted(maps.Keys(want.Expected.ParamNorms)) {
		w, limit := want.Expected.ParamNorms[name], want.Tolerance.ParamNorms
		if x, ok := want.Tolerance.ParamNormsFor[name]; ok {
			limit = x
		}
		if g, ok := norms[name]; !ok || math.Abs(g-w) > limit*math.Abs(w) {
			t.Errorf("norm of %s: %g, want %g", name, g, w)
		}
	}
	t.Logf("%d updates, %d probes, %d tensors", len(steps), len(probes), len(norms))
}

// sameFigure compares one field of an update: a number, or lists of numbers.
func sameFigure(field string, got, want json.RawMessage, of *trajectory) error {
	var g, w any
	if err := json.Unmarshal(want, &w); err != nil {
		return err
	}
	if got == nil {
		return fmt.Errorf("missing, want %s", want)
	}
	if err := json.Unmarshal(got, &g); err != nil {
		return err
	}
	a, b := flatten(g), flatten(w)
	if len(a) != len(b) {
		return fmt.Errorf("%s, want %s", got, want)
	}
	for i := range a {
		limit := of.Tolerance.Other
		switch field {
		case "loss":
			limit = of.Tolerance.Loss
		case "grad_norm":
			limit = of.Tolerance.GradNorm * math.Abs(b[i])
		case "lr":
			limit = of.Tolerance.LR * math.Abs(b[i])
		}
		if math.Abs(a[i]-b[i]) > limit {
			return fmt.Errorf("%g, want %g within %g", a[i], b[i], limit)
		}
	}
	return nil
}

func flatten(v any) []float64 {
	switch v := v.(type) {
	case float64:
		return []float64{v}
	case []any:
		var out []float64
		for _, x := range v {
			out = append(out, flatten(x)...)
		}
		return out
	}
	return []float64{math.NaN()} // equal to nothing
}

// TestDigitCompletion compares the verl checkpoint with logits and losses of PyTorch.
func TestDigitCompletion(t *testing.T) {
	dir := sharedPath(t, "data", "verl_digit_completion")
	var want []struct {
		IDs        []int32
		LogitsLast []float64 `json:"logits_last"`
		MeanNLL    *float64  `json:"mean_nll"`
	}
	readJSON(t, filepath.Join(dir, "reference_logits.json"), &want)
	var lines []any
	for _, w := range want {
		lines = append(lines, map[string]any{"tokens": w.IDs, "logits_last": true})
	}
	for i, r := range runVerb(t, lines, "logprobs", "--model", filepath.Join(dir, "model")) {
		got := get[[]float64](t, r, "logits_last")
		for k, z := range want[i].LogitsLast {
			if math.Abs(got[k]-z) > 1e-4 {
				t.Errorf("sequence %d, logit %d: %g, want %g", i, k, got[k], z)
			}
		}
		if want[i].MeanNLL == nil {
			continue
		}
		sum, n := 0.0, 0
		for _, lp := range get[[]*float64](t, r, "logprobs")[1:] {
			sum, n = sum-*lp, n+1
		}
		if math.Abs(sum/float64(n)-*want[i].MeanNLL) > 1e-4 {
			t.Errorf("sequence %d: mean negative log-prob %g, want %g", i, sum/float64(n), *want[i].MeanNLL)
		}
	}
	t.Logf("%d sequences", len(want))
}
