package task

import (
	"reflect"
	"strings"
	"testing"

	"github.com/hone-lm/hone/internal/rng"
)

// openBFCL opens a category of the shared rows.
func openBFCL(t testing.TB, options map[string]any) Source {
	t.Helper()
	options["path"] = shared(t, "bfcl")
	task, err := Open(Ref{Name: "bfcl", Options: options})
	if err != nil {
		t.Fatal(err)
	}
	return task.(Source)
}

// Every row's expert is judged right, its corrupted copies wrong, and every row survives a file.
func TestBFCLRows(t *testing.T) {
	for category, rows := range map[string]int{"simple_python": 400, "multiple": 200, "parallel": 200, "parallel_multiple": 200, "irrelevance": 240} {
		for _, names := range []string{"dots", "underscores"} {
			if names == "underscores" && category != "parallel" {
				continue
			}
			task := openBFCL(t, map[string]any{"category": category, "names": names})
			all, err := task.Problems(All)
			if err != nil || len(all) != rows {
				t.Fatalf("%s: %d rows, %v", category, len(all), err)
			}
			parts := 0
			for _, split := range []Split{Train, Valid, Test} {
				ps, err := task.Problems(split)
				if err != nil {
					t.Fatal(err)
				}
				parts += len(ps)
			}
			if parts != rows {
				t.Errorf("%s: %d rows in the splits", category, parts)
			}
			for i, p := range all {
				checkBFCL(t, task, p, rng.Key(i))
				if names == "underscores" && strings.Contains(strings.Split(p.Answer, "(")[0], ".") {
					t.Errorf("%s: %s", p.ID, p.Answer)
				}
			}
		}
	}
}

func checkBFCL(t *testing.T, task Source, p *Problem, key rng.Key) {
	t.Helper()
	tr, err := task.Expert(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []Form{Short, Verbose} {
		for _, w := range []Wording{Compact, Natural} {
			text := render(t, tr, f, w)
			if r := task.Check(p, text); r.Verdict != Correct || r.Score != 1 || strings.Contains(p.Answer, "(") && r.Term("match") != 1 {
				t.Errorf("%s %s: %q: %+v", p.ID, f, text, r)
			}
		}
	}
	c, err := tr.Corrupted(key)
	if err != nil {
		t.Fatal(err)
	}
	if r := task.Check(p, render(t, c, Verbose, Natural)); r.Verdict != Wrong || r.Score != 0 {
		t.Errorf("%s corrupted: %s: %+v", p.ID, c.Answer.Natural, r)
	}
	if len(p.Tools) == 0 || p.ToolText == "" {
		t.Errorf("%s offers no tools", p.ID)
	}
	b, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if q, err := Decode(b); err != nil || !reflect.DeepEqual(p, q) {
		t.Errorf("%s reads back as %+v, %v", p.ID, q, err)
	}
}

func TestBFCLCheck(t *testing.T) {
	simple, err := openBFCL(t, map[string]any{}).Problems(All)
	if err != nil {
		t.Fatal(err)
	}
	none, err := openBFCL(t, map[string]any{"category": "irrelevance"}).Problems(All)
	if err != nil {
		t.Fatal(err)
	}
	task, _ := Open(Ref{Name: "bfcl", Options: map[string]any{"path": "x"}})
	for _, c := range []struct {
		p       *Problem
		text    string
		verdict Verdict
		match   float64
	}{
		{simple[0], "calculate_triangle_area(base=10, height=5)", Correct, 1 - (1./3)/3 - (1./3)/3},
		{simple[0], `<tool_call>{"name": "calculate_triangle_area", "arguments": {"base": 10, "height": 5, "unit": "Units"}}</tool_call>`, Correct, 1},
		{simple[0], "<think>base is 10</think>\n```python\n[calculate_triangle_area(base=10, height=5, unit='units')]\n```", Correct, 1},
		{simple[0], "calculate_triangle_area(base=10, height=6, unit='units')", Wrong, 1 - (1./3)/3},
		{simple[0], "area(base=10)", Wrong, 0},
		{simple[0], "[]", Wrong, 0},
		{simple[0], "I need the base.", Unparsed, 0},
		{simple[0], "", Unparsed, 0},
		{none[0], "I cannot do that with these functions.", Correct, 0},
		{none[0], "[]", Correct, 0},
		{none[0], "", Correct, 0},
		{none[0], "determine_body_mass_index(weight=10.0, height=5.0)", Wrong, 0},
	} {
		r := task.Check(c.p, c.text)
		if d := r.Term("match") - c.match; r.Verdict != c.verdict || d > 1e-12 || d < -1e-12 {
			t.Errorf("%q: %+v, want %s and match %g", c.text, r, c.verdict, c.match)
		}
	}
}

func TestBFCLOptions(t *testing.T) {
	task := openBFCL(t, map[string]any{"heldout": true})
	for split, want := range map[Split]int{All: 400, Test: 400, Train: 0, Valid: 0} {
		if ps, err := task.Problems(split); err != nil || len(ps) != want {
			t.Errorf("heldout, split %q: %d rows, %v", split, len(ps), err)
		}
	}
	for ref, want := range map[string]string{
		"bfcl":                                 "path is missing",
		"bfcl?path=x&level=2":                  "no levels",
		"bfcl?path=x&category=simple":          "want one of simple_python",
		"bfcl?path=x&category=simple_java":     "want one of simple_python",
		"bfcl?path=x&category=multi_turn_base": "want one of simple_python",
		"bfcl?path=x&names=dashes":             "dots, underscores",
	} {
		var r Ref
		if err := r.UnmarshalText([]byte(ref)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want ... %s", ref, err, want)
		}
	}
	for _, dir := range []string{"nowhere", t.TempDir()} {
		absent, err := Open(Ref{Name: "bfcl", Options: map[string]any{"path": dir}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := absent.(Source).Problems(All); err == nil || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

func TestBFCLSystemTurn(t *testing.T) {
	data := &BFCL{Row: "r", Category: "live_simple", Functions: `[{"name": "a.f", "parameters": {"type": "dict", "properties": {"x": {"type": "float"}}}}]`, Answers: `[{"a.f": {"x": [1.5]}}]`,
		Messages: []BFCLMessage{{"system", "Today is Monday."}, {"user", "Call it."}, {"user", "Now."}}}
	task := &bfclTask{}
	p := newProblem(task, 0, data, Natural, "")
	if p.System != "Today is Monday." || p.Question != "Call it.\n\nNow." || !strings.Contains(string(p.Tools), `"type": "number"`) || !strings.Contains(p.ToolText, `"type": "float"`) {
		t.Errorf("%+v", p)
	}
	other := *data
	other.Functions = strings.Replace(data.Functions, "1.5", "2.5", 1)
	other.Category = "live_multiple"
	if q := newProblem(task, 0, &other, Natural, ""); q.ID == p.ID || q.SplitKey != p.SplitKey {
		t.Error("one question in two categories should be two problems of one split")
	}
	for _, broken := range []BFCL{{Category: "simple_java"}, {Category: "simple_python", Functions: "{}"}, {Category: "simple_python", Functions: "[]", Answers: "x"}} {
		if broken.valid() == nil {
			t.Errorf("%+v is valid", broken)
		}
		if r := task.Check(&Problem{Data: &broken}, "[]"); broken.Category == "simple_python" && r.Verdict != Error {
			t.Errorf("%+v: %+v", broken, r)
		}
	}
}
