package main

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
)

// TestScoreItems sends every candidate of every item through the verb: four tasks have reasoning-gym's scores, the others are named.
func TestScoreItems(t *testing.T) {
	type item struct {
		Task, Question string
		Answer         *string
		Metadata       json.RawMessage
		Scores         []struct {
			Kind   string
			Answer *string
			Score  any // a text where the task itself fails
		}
	}
	var lines []any
	var want []any
	var task []string
	for _, it := range readLines[item](t, sharedPath(t, "data", "reasoning_gym", "items.jsonl")) {
		for _, s := range it.Scores {
			lines = append(lines, map[string]any{"task": it.Task, "question": it.Question, "answer": it.Answer, "metadata": it.Metadata, "candidate": s.Answer})
			want, task = append(want, s.Score), append(task, it.Task)
		}
	}
	built := map[string]int{"countdown": 0, "chain_sum": 0, "knights_knaves": 0, "mini_sudoku": 0}
	for i, r := range runVerb(t, lines, "score") {
		if _, ok := built[task[i]]; !ok {
			if get[string](t, r, "unsupported") != task[i] {
				t.Errorf("%s: got %s", task[i], show(r))
			}
			continue
		}
		built[task[i]]++
		if got := get[float64](t, r, "score"); !near(got, want[i]) {
			t.Errorf("%s %v: %g, want %v", task[i], lines[i], got, want[i])
		}
	}
	for name, n := range built {
		if n == 0 {
			t.Errorf("no item of %s", name)
		}
	}
	t.Logf("%d candidates, scored by task: %v", len(lines), built)
}

func near(got float64, want any) bool {
	w, ok := want.(float64)
	return ok && math.Abs(got-w) <= 1e-9
}

func TestScoreRefuses(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{`{"task": "countdown", "question": "", "answer": "", "metadata": {}, "candidate": "1"}`, "countdown"},
		{`{"task": "chain_sum", "question": "", "answer": "1", "metadata": {}}`, `field "candidate" is missing`},
		{`{"task": 3, "question": "", "answer": "1", "metadata": {}, "candidate": null}`, `field "task" holds a number`},
	} {
		if r := replyTo(t, c.line, "score"); r["error"] == nil || !strings.Contains(get[string](t, r, "error"), c.want) {
			t.Errorf("%s: got %s", c.line, show(r))
		}
	}
}
