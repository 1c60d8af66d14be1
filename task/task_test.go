package task

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/hone-lm/hone/internal/rng"
)

var generated = []string{"chain_sum", "countdown", "frozenlake", "knights_knaves", "mini_sudoku", "tool_calls"}

// refs are the settings that the properties run over.
func refs() []Ref {
	var out []Ref
	for _, name := range generated {
		for _, w := range []Wording{Compact, Natural} {
			out = append(out, Ref{Name: name, Options: map[string]any{"wording": string(w)}})
		}
	}
	return append(out, Ref{Name: "countdown", Options: map[string]any{"rule": "subset", "max": 100, "max_target": 999}}, Ref{Name: "frozenlake", Options: map[string]any{"slippery": true, "levels": "3-4"}},
		Ref{Name: "tool_calls", Options: map[string]any{"names": "other", "tools": "3", "refuse": 0.5}})
}

func open1(t testing.TB, r Ref) Generator {
	t.Helper()
	task, err := Open(r)
	if err != nil {
		t.Fatal(err)
	}
	return task.(Generator)
}

// drawProblem draws a task, a level and a problem.
func drawProblem(t *rapid.T) (Generator, *Problem) {
	all := refs()
	r := all[rapid.IntRange(0, len(all)-1).Draw(t, "ref")]
	task, err := Open(r)
	if err != nil {
		t.Fatal(err)
	}
	g := task.(Generator)
	lo, hi := g.Levels()
	if r.Options["slippery"] == true {
		hi = 4
	}
	p, err := g.Generate(rng.Key(rapid.Uint64().Draw(t, "key")), rapid.IntRange(lo, hi).Draw(t, "level"))
	if err != nil {
		t.Fatal(err)
	}
	return g, p
}

func render(t interface{ Fatalf(string, ...any) }, tr *Trace, f Form, w Wording) string {
	parts, err := tr.Render(f, w)
	if err != nil {
		t.Fatalf("%s %s: %v", f, w, err)
	}
	if parts[len(parts)-1].Span != SpanAnswer {
		t.Fatalf("%s: the last part is %q", f, parts[len(parts)-1].Span)
	}
	return Join(parts, w)
}

// Every expert's trace is graded correct, in every form and wording, with and without detours, checks and search.
func TestExpertsAreRight(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g, p := drawProblem(t)
		if r := g.Check(p, p.Answer); r.Verdict != Correct {
			t.Fatalf("%s: reference answer %q: %+v", p.Question, p.Answer, r)
		}
		tr, err := g.Expert(p)
		if err != nil {
			t.Fatal(err)
		}
		key := rng.Key(rapid.Uint64().Draw(t, "turns"))
		traces := map[string]*Trace{"straight": tr}
		if s, err := tr.Search(); err == nil {
			traces["search"] = s
		}
		if c, err := tr.Checked(2, key); err == nil {
			traces["checked"] = c
			if len(c.Steps) != len(tr.Steps)+2 {
				t.Fatalf("%d steps with 2 checks, %d without", len(c.Steps), len(tr.Steps))
			}
		}
		for k := range 4 {
			d, err := tr.Detours(k, key)
			if err != nil {
				continue
			}
			if d.Backs() != k {
				t.Fatalf("%d detours asked for, %d taken", k, d.Backs())
			}
			text := render(t, d, Verbose, Natural)
			if n := strings.Count(text, "Back to"); n != k {
				t.Fatalf("%d detours, %d in the text:\n%s", k, n, text)
			}
			traces[fmt.Sprint("detours ", k)] = d
		}
		for name, tr := range traces {
			for _, w := range []Wording{Compact, Natural} {
				for _, f := range []Form{Short, Verbose, Planned} {
					if parts, err := tr.Render(f, w); f == Planned && err != nil && parts == nil {
						continue // no plan
					}
					text := render(t, tr, f, w)
					if r := g.Check(p, text); r.Verdict != Correct {
						t.Fatalf("%s: %s %s %s: %q: %+v", p.Question, name, f, w, text, r)
					}
				}
			}
		}
	})
}

func TestCorruptedIsWrong(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g, p := drawProblem(t)
		tr, err := g.Expert(p)
		if err != nil {
			t.Fatal(err)
		}
		c, err := tr.Corrupted(rng.Key(rapid.Uint64().Draw(t, "corrupt")))
		if err != nil {
			if strings.Contains(err.Error(), "every other") {
				t.Skip(err)
			}
			t.Fatal(err)
		}
		wrong := 0
		for _, s := range c.Steps {
			if s.Wrong {
				wrong++
			}
		}
		if wrong == 0 || !c.Corrupt {
			t.Fatalf("no step is labelled wrong")
		}
		for _, w := range []Wording{Compact, Natural} {
			for _, f := range []Form{Short, Verbose} {
				text := render(t, c, f, w)
				if r := g.Check(p, text); r.Verdict != Wrong {
					t.Fatalf("%s: %q: %+v", p.Question, text, r)
				}
			}
		}
	})
}

// The same key gives the same problem, and a problem survives a file with its keys and its own type of data.
func TestProblemsAreStable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g, p := drawProblem(t)
		b, err := p.Encode()
		if err != nil {
			t.Fatal(err)
		}
		q, err := Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(p, q) {
			t.Fatalf("%+v read back as %+v", p, q)
		}
		if g.Question(p, Compact) == g.Question(p, Natural) || p.Question != g.Question(q, Compact) && p.Question != g.Question(q, Natural) {
			t.Fatalf("wordings of %q", p.Question)
		}
	})
}

func TestDecodeRefuses(t *testing.T) {
	p, err := open1(t, Ref{Name: "countdown"}).Generate(1, 3)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := p.Encode()
	for name, text := range map[string]string{
		"task":    strings.Replace(string(b), `"countdown"`, `"countdwn"`, 1),
		"target":  strings.Replace(string(b), `"target":`, `"target":1`, 1),
		"numbers": strings.Replace(string(b), `"numbers":[`, `"numbers":[0,`, 1),
		"empty":   "{}",
		"cut":     string(b[:len(b)-5]),
	} {
		if _, err := Decode([]byte(text)); err == nil {
			t.Errorf("%s: %s was read", name, text)
		}
	}
}

func TestSplits(t *testing.T) {
	for _, name := range generated {
		g := open1(t, Ref{Name: name})
		counts := map[Split]int{}
		groups := map[uint64]Split{}
		for i := range uint64(2000) {
			p, err := g.Generate(rng.New(1, "splits", i), 0)
			if err != nil {
				t.Fatal(err)
			}
			s := SplitOf(p, DefaultSplits)
			if was, ok := groups[p.SplitKey]; ok && was != s {
				t.Fatalf("%s: one group in %s and %s", name, was, s)
			}
			groups[p.SplitKey] = s
			counts[s]++
		}
		if n := len(groups); n > 900 && math.Abs(float64(counts[Train])-1800) > 80 {
			t.Errorf("%s: %v of 2000", name, counts)
		}
	}
}

// No multiset of numbers occurs in two splits, whatever the target and the order.
func TestCountdownSplitsByNumbers(t *testing.T) {
	g := open1(t, Ref{Name: "countdown", Options: map[string]any{"max": 10}})
	where := map[string]Split{}
	shared := 0
	for _, split := range []Split{Train, Valid, Test} {
		s := NewStream(g, 3, split, 3)
		for i := range 300 {
			p, err := s.At(i)
			if err != nil {
				t.Fatal(err)
			}
			_, group := p.Data.(*Countdown).canonical()
			if was, ok := where[group]; ok {
				if shared++; was != split {
					t.Fatalf("numbers %s in %s and %s", group, was, split)
				}
			}
			where[group] = split
			if q, _ := s.At(i); !reflect.DeepEqual(p, q) {
				t.Fatalf("problem %d differs when asked for again", i)
			}
		}
	}
	if shared == 0 {
		t.Error("no numbers occurred twice: the test shows nothing")
	}
}

func TestDistinct(t *testing.T) {
	s := NewStream(open1(t, Ref{Name: "countdown"}), 1, Test, 0)
	ps, err := s.Distinct(500)
	if err != nil || len(ps) != 500 {
		t.Fatalf("%d problems, %v", len(ps), err)
	}
	seen := map[string]bool{}
	for _, p := range ps {
		if seen[p.ID] || SplitOf(p, DefaultSplits) != Test {
			t.Fatalf("%s twice or in the wrong split", p.ID)
		}
		seen[p.ID] = true
	}
	s = NewStream(open1(t, Ref{Name: "chain_sum", Level: 2, Options: map[string]any{"digits": 1}}), 1, All, 0)
	if ps, err := s.Distinct(1000); !errors.Is(err, ErrExhausted) || len(ps) != 200 { // 10 * 10 terms, 2 operators
		t.Errorf("%d problems, %v", len(ps), err)
	}
}

func TestRef(t *testing.T) {
	r, err := ParseRef("countdown?level=4&max=50&operators=+-&rule=subset")
	if err != nil || r.Name != "countdown" || r.Level != 4 || r.Options["operators"] != "+-" {
		t.Fatalf("%+v %v", r, err)
	}
	if again, err := ParseRef(r.String()); err != nil || !reflect.DeepEqual(again, r) {
		t.Errorf("%s reads back as %+v (%v)", r, again, err)
	}
	for text, want := range map[string]string{
		"cuntdown":                     `did you mean "countdown"`,
		"countdown?maximum=3":          "the options are",
		"countdown?mix=3":              `did you mean "min"`,
		"countdown?max=many":           "whole number from 1",
		"countdown?level=9":            "outside 3 to 6",
		"countdown?level=3&numbers=4":  "different things",
		"countdown?level=3&levels=3-4": "keep one",
		"countdown?wording=natual":     `did you mean "natural"`,
		"countdown?min=30":             "must not be empty",
		"countdown?operators=+^":       "some of +-*/",
		"knights_knaves?levels=3-9":    "within 2 to 8",
		"gsm8k":                        "path is missing",
		"?level=3":                     "name is missing",
		"countdown?max":                "has no value",
	} {
		var r Ref
		if err := r.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want ... %s", text, err, want)
		}
	}
}

func TestVerdictText(t *testing.T) {
	for v := Ungraded; v <= Error; v++ {
		b, err := json.Marshal(v)
		var w Verdict
		if err != nil || json.Unmarshal(b, &w) != nil || w != v {
			t.Errorf("%v: %s", v, b)
		}
	}
	var v Verdict
	if v.UnmarshalText([]byte("right")) == nil {
		t.Error("an unknown verdict was read")
	}
}

// A task says so when it is given another task's problem.
func TestForeignProblems(t *testing.T) {
	chain, err := open1(t, Ref{Name: "chain_sum"}).Generate(1, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range generated {
		g := open1(t, Ref{Name: name})
		if name == "chain_sum" {
			continue
		}
		if r := g.Check(chain, "7"); r.Verdict != Error {
			t.Errorf("%s: %+v", name, r)
		}
		if _, err := g.Expert(chain); err == nil {
			t.Errorf("%s solves a chain_sum", name)
		}
	}
}

// shared returns a file of the data folder beside the project.
func shared(t testing.TB, path string) string {
	t.Helper()
	full := filepath.Join("..", "..", "shared", "data", filepath.FromSlash(path))
	if _, err := os.Stat(full); err != nil {
		t.Skipf("../shared absent: %v", err)
	}
	return full
}

// Tables and committed results stand on these problems: they may never change.
func TestPinnedProblems(t *testing.T) {
	for _, c := range []struct{ ref, id, question, answer string }{
		{"countdown?level=4", "countdown-70c3a3a6d8af19b5", "20 16 8 12 = 32", "16*12-20*8"},
		{"chain_sum?level=3&digits=2", "chain_sum-4502e52ae28bd5d1", "92+93-76=", "109"},
		{"knights_knaves?level=3", "knights_knaves-74950eef14a15579", "A:!Bn B:(Ak/An) C:(Ak&An)", "Ak Bk Cn"},
		{"mini_sudoku?level=10", "mini_sudoku-f6c1116e78518508", "_42_ ____ 32_4 __3_", "1423 2341 3214 4132"},
		{"frozenlake?level=4", "frozenlake-8446963c4e45b60b", "SHHF/FFFF/HFFF/FFFG", "DRRRDD"},
		{
			"tool_calls?level=4&tools=3&refuse=0", "tool_calls-66458c1477ffab68",
			"rent_film(fast:bool,date:str) move_room(meters:int) rent_car(price:float,place:str) ? move room,15 km; rent car,at half of 22.4,in cairo",
			"[move_room(meters=15000),rent_car(price=11.2,place='cairo')]",
		},
		{"frozenlake?level=4&slippery=true", "frozenlake-2e73ed6cef671593", "~SHHF/FFFF/HFFF/FFFG", "DRRRDD"},
	} {
		r, err := ParseRef(c.ref)
		if err != nil {
			t.Fatal(err)
		}
		p, err := NewStream(open1(t, r), 1, Test, 0).At(0)
		if err != nil {
			t.Fatal(err)
		}
		if p.ID != c.id || p.Question != c.question || p.Answer != c.answer {
			t.Errorf("{%q, %q, %q, %q},", c.ref, p.ID, p.Question, p.Answer)
		}
	}
}
