package rollout

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hone-lm/hone/chat"
	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/reward"
	"github.com/hone-lm/hone/task"
	"github.com/hone-lm/hone/token"
)

func sharedPath(t testing.TB, path string) string {
	t.Helper()
	full := filepath.Join("..", "..", "shared", filepath.FromSlash(path))
	if _, err := os.Stat(full); err != nil {
		t.Skipf("../shared absent: %v", err)
	}
	return full
}

// Tools reach the model through a template that takes them, else as text in the system turn, else before the question; demonstrations
// begin with the prompt in every case.
func TestFormatTools(t *testing.T) {
	ref, err := task.Open(task.Ref{Name: "bfcl", Options: map[string]any{"path": sharedPath(t, "data/bfcl"), "category": "simple_python"}})
	if err != nil {
		t.Fatal(err)
	}
	problems, err := ref.(task.Source).Problems(task.All)
	if err != nil {
		t.Fatal(err)
	}
	p := problems[0]
	const plain = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
	for _, c := range []struct {
		name, tokenizer, template string
		takes                     bool
		want, never               []string
	}{
		{
			"qwen3", "data/tokenizer_qwen3", "", true,
			[]string{"<tools>", `{"type": "function", "function": {"name": "calculate_triangle_area"`, "Be brief.", "Find the area of a triangle", `{"type": "object"`},
			[]string{"Answer with a list of calls"},
		},
		{
			"template without tools", "", plain, false,
			[]string{"<system>Be brief.\n\nYou can call the functions below.", `{"name": "calculate_triangle_area"`, `{"type": "dict"`, "<user>Find the area"},
			[]string{`"type": "function"`},
		},
		{"no template", "", "", false, []string{"You can call the functions below.", `{"name": "calculate_triangle_area"`, "\n\nFind the area"}, []string{"<user>", `"type": "function"`}},
	} {
		tok := token.Bytes()
		if c.tokenizer != "" {
			if tok, err = token.Load(sharedPath(t, c.tokenizer)); err != nil {
				t.Fatal(err)
			}
		}
		f, err := NewFormat(tok)
		if c.template != "" {
			f.Template, err = chat.New(c.template, tok)
		} else if c.tokenizer == "" {
			f.Template = nil
		}
		if err != nil {
			t.Fatal(err)
		}
		f.System = "Be brief."
		if f.Template != nil && f.Template.TakesTools() != c.takes {
			t.Errorf("%s: takes tools: %t", c.name, !c.takes)
		}
		prompt, err := f.Prompt(p)
		if err != nil {
			t.Fatal(err)
		}
		text := tok.Decode(prompt.Tokens, false)
		for _, w := range c.want {
			if !strings.Contains(text, w) {
				t.Errorf("%s: no %q in the prompt:\n%s", c.name, w, text)
			}
		}
		for _, w := range c.never {
			if strings.Contains(text, w) {
				t.Errorf("%s: %q in the prompt:\n%s", c.name, w, text)
			}
		}
		if c.template != "" {
			continue // byte tokenizers have no end of turn for this template's answers
		}
		checkDemo(t, c.name, f, p, prompt)
	}
}

// checkDemo wants a demonstration that is the prompt with the problem's answer behind it.
func checkDemo(t *testing.T, name string, f *Format, p *task.Problem, prompt *engine.Sequence) {
	t.Helper()
	demo, err := f.Demo(p, p.Answer)
	if err != nil {
		t.Fatal(err)
	}
	n := len(prompt.Tokens)
	if !slices.Equal(demo.Tokens[:n], prompt.Tokens) || demo.Count(engine.KindDemo) == 0 {
		t.Errorf("%s: the demonstration does not begin with the prompt", name)
	}
	if said := f.Tok.Decode(demo.Tokens[n:], true); strings.TrimSpace(strings.ReplaceAll(said, "<think>\n\n</think>", "")) != p.Answer {
		t.Errorf("%s: the demonstration says %q, want %q", name, said, p.Answer)
	}
}

// Problems without tools and system turns keep their prompts.
func TestFormatPlain(t *testing.T) {
	f, err := NewFormat(token.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	f.Template, f.Suffix = nil, "?"
	for question, want := range map[string]string{"3 7 12 = 48": "3 7 12 = 48?\n", "": "?\n"} {
		s, err := f.Prompt(&task.Problem{Question: question})
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Tok.Decode(s.Tokens, true); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// scripted answers every question with the same words.
type scripted struct {
	f     *Format
	reply string
	asked []string
}

func (s *scripted) Sample(_ context.Context, prompts []engine.Prompt) ([][]*engine.Sequence, error) {
	var out [][]*engine.Sequence
	for _, p := range prompts {
		s.asked = append(s.asked, s.f.Tok.Decode(p.Seq.Tokens, false))
		one := &engine.Sequence{Tokens: append([]int32(nil), p.Seq.Tokens...), Kind: append([]engine.Kind(nil), p.Seq.Kind...)}
		for _, id := range s.f.Tok.Encode(s.reply, token.EncodeOptions{}) {
			one.Tokens, one.Kind = append(one.Tokens, id), append(one.Kind, engine.KindSampled)
		}
		out = append(out, []*engine.Sequence{one})
	}
	return out, nil
}

// Score gives every token of "no" more than those of "yes".
func (s *scripted) Score(_ context.Context, seqs []*engine.Sequence, _ engine.Want) ([]*engine.Scores, error) {
	var out []*engine.Scores
	for _, q := range seqs {
		logp := make([]float32, len(q.Tokens))
		for t := range logp {
			logp[t] = -1
		}
		out = append(out, &engine.Scores{LogProb: logp})
	}
	return out, nil
}

func TestFormatJudge(t *testing.T) {
	f, err := NewFormat(token.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	model := &scripted{f: f, reply: "Yes, it is right."}
	cases := []reward.Case{{Problem: &task.Problem{Question: "6*7="}, Reference: "42", Answer: "forty-two"}}
	got, err := f.Judge("scripted", model, reward.YesNo, engine.Params{Greedy: true}, 1).Judge(t.Context(), cases)
	if err != nil || got[0].Verdict != task.Correct {
		t.Errorf("%+v %v", got, err)
	}
	for _, want := range []string{"<|user|>", "Question:\n6*7=", "A right answer:\n42", "Answer to judge:\nforty-two", "yes: the answer is right", "<|assistant|>"} {
		if !strings.Contains(model.asked[0], want) {
			t.Errorf("no %q in %s", want, model.asked[0])
		}
	}
	// "yes" and the end token have 4 bytes at -1 nat, "no" 3.
	got, err = f.ScoreJudge("scripted", model, reward.YesNo).Judge(t.Context(), cases)
	if want := 1 / (1 + math.E); err != nil || got[0].Verdict != task.Wrong || math.Abs(got[0].Score-want) > 1e-12 {
		t.Errorf("%+v %v, want %g", got, err, want)
	}
}
