package run

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
)

func TestRolloutRow(t *testing.T) {
	row := Rollout{Step: 3, Problem: "p", Sample: 1, Text: "<b>", Verdict: "wrong", Reward: -0.5, Terms: map[string]Float{"overlong": -0.5}, Stop: "eos", Tokens: []int32{9, 4, 5, 6}, Pieces: []string{"q", "a", "", "é"}, Prompt: 1,
		Kinds: "fss", LogProb: Column{0, -1.23456789, float32(math.Inf(-1))}, Advantage: Column{0.25, 0.25, 0.25}, Weights: map[string]Column{"rl": {0, 1, 1e-9}, "sft": {1, 0, 0}}, Scale: map[string]Short{"rl": 1.0 / 3, "sft": 2}}
	b, err := json.Marshal(row)
	check(t, err)
	for _, want := range []string{`{"step":3,"problem":"p"`, `"logp_old":[0,-1.2346,null]`, `"advantage":[0.25,0.25,0.25]`, `"weights":{"rl":[0,1,1e-09],"sft":[1,0,0]}`, `"scale":{"rl":0.33333,"sft":2}`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("%s\nlacks %s", b, want)
		}
	}
	var back Rollout
	check(t, json.Unmarshal(b, &back))
	if !math.IsNaN(back.LogProb.At(2)) || back.LogProb.At(1) != float64(float32(-1.2346)) {
		t.Errorf("log-probs %v", back.LogProb)
	}
	back.LogProb, row.LogProb, row.Scale, back.Scale = nil, nil, nil, nil
	if !reflect.DeepEqual(row, back) {
		t.Errorf("%+v\n%+v", row, back)
	}
	if got, want := back.Summary(), "p sample 1: wrong, reward -0.5 (overlong -0.5), 3 tokens, ended by eos"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := back.Streams(); !reflect.DeepEqual(got, []string{"rl", "sft"}) || back.KindAt(0) != "p" || back.KindAt(1) != "f" || back.KindAt(3) != "s" {
		t.Errorf("streams %v", got)
	}
	want := []Span{{0, 1, 0, "q"}, {1, 2, 1, "a"}, {2, 4, 0, "é"}}
	if got := back.Spans(back.Weights["sft"]); !reflect.DeepEqual(got, want) {
		t.Errorf("spans %+v, want %+v", got, want)
	}
	var old Rollout // a row of an earlier version: one advantage, no texts
	check(t, json.Unmarshal([]byte(`{"step":1,"tokens":[1,2,3],"prompt":1,"logp_old":[-1,-2],"advantage":0.5}`), &old))
	if old.Advantage.At(0) != 0.5 || old.Advantage.At(1) != 0.5 || old.Piece(2) != "<3>" || len(old.Spans(old.Advantage)) != 2 {
		t.Errorf("%+v", old)
	}
}

func TestRollouts(t *testing.T) {
	r := create(t, t.TempDir(), "grpo")
	for i := range 6 {
		check(t, r.Append("rollouts/grpo.jsonl", Rollout{Step: i/2 + 1, Problem: "p", Sample: i % 2}))
	}
	rows, err := r.Rollouts("grpo", func(step int) bool { return step == 2 })
	check(t, err)
	if len(rows) != 2 || rows[0].Step != 2 || rows[1].Sample != 1 {
		t.Errorf("%+v", rows)
	}
	steps, err := r.RolloutSteps("grpo")
	check(t, err)
	if !reflect.DeepEqual(steps, map[int]int{1: 2, 2: 2, 3: 2}) {
		t.Errorf("%v", steps)
	}
	if rows, err := r.Rollouts("sft", func(int) bool { return true }); rows != nil || err != nil {
		t.Errorf("a stage without samples: %v, %v", rows, err)
	}
	check(t, r.Append("rollouts/bad.jsonl", map[string]int{"x": 1}))
	_, err = r.Rollouts("bad", func(int) bool { return true })
	wantError(t, err, "bad.jsonl:1", "does not begin with its step")
	check(t, r.Append("rollouts/worse.jsonl", map[string]string{"step": "1"}))
	_, err = r.RolloutSteps("worse")
	wantError(t, err, "worse.jsonl:1")
}
