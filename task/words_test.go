package task

import (
	"encoding/json"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hone-lm/hone/internal/rng"
)

func TestFinalNumber(t *testing.T) {
	for response, want := range map[string]string{
		"#### 72":                                "72",
		"so 12.\n#### 1,234\n":                   "1234",
		"#### $1,234.50.":                        "2469/2",
		"The answer is 5 apples, because 3 + 2.": "5",
		"The answer is: -7":                      "-7",
		"the ANSWER IS 3. The answer is 4.":      "4",
		"The answer is 2 + 3 = 5 apples. Done 9": "5",
		"Answer: 0.5":                            "1/2",
		`so \boxed{12} and 13`:                   "12",
		`\boxed{\text{about } 1,000}`:            "1000",
		`\boxed{1/2}`:                            "1/2",
		"12 apples and 30 pears make 42.":        "42",
		"He pays $18.":                           "18",
		"It is 50%":                              "50",
		"10 - 5":                                 "5",
		"10-5":                                   "5",
		"= -5":                                   "-5",
		"it is -5":                               "-5",
		"-$5":                                    "-5",
		"$-5":                                    "-5",
		"(-5)":                                   "-5",
		"−5":                                     "-5",
		".5":                                     "1/2",
		"3.":                                     "3",
		"3.14.15":                                "15",
		"1,2":                                    "2",
		"1,234,56":                               "56",
		"12,345,678":                             "12345678",
		"7/0":                                    "0",
		"####":                                   "",
		"4 apples ####":                          "4",
		"":                                       "",
		"no number":                              "",
		"<answer> 9 </answer> 10":                "9",
		"2+2=4|4":                                "4",
		"The answer is three, as 1 + 2 = 3":      "3",
		strings.Repeat("9", 200) + " and 8":      "8",
		"The answer is\n\n12":                    "12",
		"3 answers; the final answer is 6 (not 7).": "6",
	} {
		v, _, ok := FinalNumber(response)
		if ok != (want != "") || ok && v.RatString() != want {
			t.Errorf("%.60q: %v (%v), want %s", response, v, ok, want)
		}
	}
}

// OpenAI's own verdicts on model-written solutions of gsm8k.
func TestGSM8KVerdicts(t *testing.T) {
	b, err := os.ReadFile(shared(t, "gsm8k/example_model_solutions.first.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	checked, task := 0, &wordTask{name: "gsm8k"}
	for i, line := range strings.Split(strings.TrimSpace(string(b)), "\n") {
		var row map[string]json.RawMessage
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatal(err)
		}
		text := func(key string) (s string) { _ = json.Unmarshal(row[key], &s); return }
		truth := text("ground_truth") // ends in "A: 18"
		gold := truth[strings.LastIndex(truth, "A:")+2:]
		p := newProblem(task, 0, &WordProblem{Text: text("question"), Answer: strings.TrimSpace(gold)}, Natural, "")
		for _, model := range []string{"6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification"} {
			var made struct {
				Solution string
				Correct  bool `json:"is_correct"`
			}
			if err := json.Unmarshal(row[model], &made); err != nil {
				t.Fatalf("row %d: %v", i, err)
			}
			checked++
			if r := task.Check(p, made.Solution); (r.Verdict == Correct) != made.Correct {
				t.Errorf("row %d, %s: %+v, OpenAI says %v: ...%q, gold %s", i, model, r, made.Correct, made.Solution[max(0, len(made.Solution)-60):], gold)
			}
		}
	}
	if checked < 2000 {
		t.Errorf("only %d solutions checked", checked)
	}
}

func TestWordFiles(t *testing.T) {
	for _, c := range []struct {
		name, file    string
		rows          int
		question, ans string
	}{
		{"gsm8k", "gsm8k/train.jsonl", 7473, "Natalia sold clips to 48 of her friends", "72"},
		{"gsm8k", "gsm8k/test.first.jsonl", 659, "", ""},
		{"svamp", "svamp/SVAMP.first700.json", 700, "Each pack of dvds costs 76 dollars. If there is a discount of 25 dollars on each pack. How much do you have to pay to buy each pack?", "51"},
		{"mawps", "mawps_family/AddSub.json", 395, "Joan found 70 seashells", "43"},
		{"mawps", "mawps_family/MultiArith.first300.json", 300, "For Halloween Debby and her sister", "39"},
	} {
		task, err := Open(Ref{Name: c.name, Options: map[string]any{"path": shared(t, c.file)}})
		if err != nil {
			t.Fatal(err)
		}
		all, err := task.(Source).Problems(All)
		if err != nil {
			t.Fatal(err)
		}
		if len(all) != c.rows || !strings.HasPrefix(all[0].Question, c.question) || c.ans != "" && all[0].Answer != c.ans {
			t.Errorf("%s: %d rows, first %+v", c.file, len(all), all[0])
		}
		parts := 0
		for _, split := range []Split{Train, Valid, Test} {
			ps, err := task.(Source).Problems(split)
			if err != nil {
				t.Fatal(err)
			}
			parts += len(ps)
		}
		if parts != c.rows {
			t.Errorf("%s: %d rows in the splits, %d in all", c.file, parts, c.rows)
		}
		bad := 0
		for i, p := range all {
			checkWordProblem(t, task, p, rng.Key(i), &bad)
		}
		if bad > c.rows/200 {
			t.Errorf("%s: the equations of %d rows do not give the answer", c.file, bad)
		}
	}
}

// checkWordProblem grades the expert's trace; bad counts rows whose own equation misses their answer.
func checkWordProblem(t *testing.T, task Task, p *Problem, key rng.Key, bad *int) {
	tr, err := task.Expert(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []Form{Short, Verbose} {
		if r := task.Check(p, render(t, tr, f, Natural)); r.Verdict != Correct {
			t.Errorf("%s %s: %+v", p.ID, f, r)
		}
	}
	if n := len(tr.Steps); n > 0 && tr.Steps[n-1].Kind == Compute {
		last := tr.Steps[n-1].Data.([]Calculation)[0].Result
		if v, ok := new(big.Rat).SetString(last); !ok || decimal(v) != p.Answer {
			*bad++
		}
	}
	c, err := tr.Corrupted(key)
	if err != nil {
		t.Fatal(err)
	}
	if r := task.Check(p, render(t, c, Verbose, Natural)); r.Verdict != Wrong {
		t.Errorf("%s corrupted: %+v", p.ID, r)
	}
	b, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if q, err := Decode(b); err != nil || q.Key != p.Key || q.Data.(*WordProblem).Answer != p.Answer {
		t.Errorf("%s: %v", p.ID, err)
	}
}

func TestWordFileErrors(t *testing.T) {
	for name, c := range map[string]struct{ task, text, want string }{
		"absent":     {"gsm8k", "", "no such file"},
		"json":       {"gsm8k", "{\"question\": \"a\", \"answer\": \"#### 1\"}\n{", ":2:"},
		"mark":       {"gsm8k", "{\"question\": \"a\", \"answer\": \"1\"}", `no "#### "`},
		"number":     {"gsm8k", "{\"question\": \"a\", \"answer\": \"#### one\"}", "row 1: answer \"one\""},
		"question":   {"gsm8k", "{\"question\": \" \", \"answer\": \"#### 1\"}", "question is empty"},
		"no rows":    {"svamp", "[]", "no problems"},
		"no array":   {"svamp", "{}", "JSON array"},
		"solutions":  {"mawps", `[{"sQuestion": "a", "lSolutions": [1, 2]}]`, "2 solutions"},
		"wrong type": {"mawps", `[{"sQuestion": 3}]`, "JSON array"},
	} {
		path := filepath.Join(t.TempDir(), "rows")
		if name != "absent" {
			if err := os.WriteFile(path, []byte(c.text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		task, err := Open(Ref{Name: c.task, Options: map[string]any{"path": path}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = task.(Source).Problems(All)
		if err == nil || !strings.Contains(err.Error(), c.want) && name != "absent" || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want the path and ... %s", name, err, c.want)
		}
	}
}

func TestAnnotations(t *testing.T) {
	text, found := annotations("Natalia sold 48/2 = <<48/2=24>>24 clips, <<1+1=2>>2 more << open")
	if text != "Natalia sold 48/2 = 24 clips, 2 more << open" || !slices.Equal(found, []Calculation{{"48/2", "24"}, {"1+1", "2"}}) {
		t.Errorf("%q %v", text, found)
	}
}

func TestContamination(t *testing.T) {
	const story = "Natalia sold clips to 48 of her friends in April and then she sold half as many clips in May"
	train := []string{"Unrelated text of no interest to anyone at all, really, whatever its length may be.", "He said: " + strings.ToUpper(story) + "!", "3 7 12 = 48", "12+35-7=40", "again " + story}
	eval := []string{
		"A new story about ponies and their seven little hats in the far north of the very cold land",
		story + ". How many clips did Natalia sell altogether?",
		"3 7 12 = 48",
		"3 7 12 = 49",
		"7 12 = 48",  // four words, inside a training text
		"12+35+7=54", // differs in a sign
		"12+35-7",    // five words
		"48",
		"",
	}
	got := Contamination(slices.Values(train), eval, 0)
	var which []int
	for _, o := range got {
		which = append(which, o.Eval)
	}
	if !slices.Equal(which, []int{1, 2, 6}) {
		t.Fatalf("%+v", got)
	}
	if o := got[0]; o.Train != 1 || o.Hits != 2 || len(strings.Fields(o.Text)) != DefaultNGram || !strings.HasPrefix(o.Text, "natalia sold clips") {
		t.Errorf("%+v", o)
	}
	// A template that the evaluation texts share is no contamination; the same problem in it is.
	task := open1(t, Ref{Name: "countdown", Options: map[string]any{"wording": "natural"}})
	texts := func(split Split, n int) (out []string) {
		ps, err := NewStream(task, 1, split, 3).Distinct(n)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range ps {
			out = append(out, p.Question)
		}
		return out
	}
	train, eval = texts(Train, 300), texts(Test, 100)
	for i := range train {
		train[i] += " The answer is 1+2." // a row holds the answer as well
	}
	if got := Contamination(slices.Values(train), eval, 0); len(got) != 0 {
		t.Errorf("%d of 100 texts flagged for their template: %+v", len(got), got[0])
	}
	if got := Contamination(slices.Values(append(train, eval[7]+" The answer is 3.")), eval, 0); len(got) != 1 || got[0].Eval != 7 || got[0].Train != 300 {
		t.Errorf("a planted problem: %+v", got)
	}
}

func FuzzAnswers(f *testing.F) {
	for _, s := range []string{"#### 72", "<answer>12*(7-3)</answer>", `\boxed{\frac{1}{2}}`, "the answer is -$1,234.5.", "Ak Bn|An Bk", "4213 1342 2134 3421", "RRDD", "1/0", "answer", "answer i", "a\x00\xff|"} {
		f.Add(s)
	}
	var tasks []Generator
	var problems []*Problem
	for _, name := range generated {
		g := open1(f, Ref{Name: name})
		p, err := g.Generate(1, 0)
		if err != nil {
			f.Fatal(err)
		}
		tasks, problems = append(tasks, g), append(problems, p)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if v, text, ok := FinalNumber(s); ok {
			if w, good := new(big.Rat).SetString(text); !good || v.Cmp(w) != 0 {
				t.Fatalf("%q: %v was written %q", s, v, text)
			}
		}
		for i, g := range tasks {
			r := g.Check(problems[i], s)
			if r.Verdict == Ungraded || r.Verdict == Error || (r.Verdict == Correct) != (r.Score == 1) {
				t.Fatalf("%s %q: %+v", g.Name(), s, r)
			}
		}
		for _, name := range []string{"chain_sum", "countdown", "knights_knaves", "mini_sudoku"} {
			meta := json.RawMessage(`{"numbers": [3, 7, 12], "target": 48, "solution": [[1,2],[2,1]]}`)
			if x, err := Score(name, "", "7", meta, &s); err != nil || !(x >= 0 && x <= 1) {
				t.Fatalf("%s %q: %v %v", name, s, x, err)
			}
		}
	})
}
