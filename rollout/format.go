package rollout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hone-lm/hone/chat"
	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/reward"
	"github.com/hone-lm/hone/task"
	"github.com/hone-lm/hone/token"
)

// Format turns problems and demonstrations into tokens, once: through the model's chat template, or as plain text where it has none.
type Format struct {
	Tok      token.Tokenizer
	Template *chat.Template // nil = plain
	System   string         // system turn, "" = the template's own habit
	Suffix   string         // put after every question, such as an instruction on the answer's form
	Opening  string         // what every sampled answer begins with, tags such as <plan> included: inserted, so neither sampled nor trained
}

// NewFormat reads the tokenizer's chat template, if it has one.
func NewFormat(tok token.Tokenizer) (*Format, error) {
	template, err := chat.New("", tok)
	if err != nil && !errors.Is(err, chat.ErrNoTemplate) {
		return nil, err
	}
	return &Format{Tok: tok, Template: template}, nil
}

// messages are the turns before the answer, with the tools for the template. Where the template takes none they stand in the system turn.
func (f *Format) messages(p *task.Problem) (m []chat.Message, tools json.RawMessage) {
	system := []string{f.System, p.System}
	if len(p.Tools) > 0 && f.Template.TakesTools() {
		tools = p.Tools
	} else {
		system = append(system, p.ToolText)
	}
	if text := paragraphs(system...); text != "" {
		m = append(m, chat.Message{Role: "system", Content: text})
	}
	return append(m, chat.Message{Role: "user", Content: p.Question + f.Suffix}), tools
}

// paragraphs joins the texts that are not empty.
func paragraphs(texts ...string) string {
	return strings.Join(slices.DeleteFunc(texts, func(s string) bool { return s == "" }), "\n\n")
}

// Prompt returns the tokens that a model continues with its answer.
func (f *Format) Prompt(p *task.Problem) (*engine.Sequence, error) {
	s, err := f.question(p)
	if err != nil || f.Opening == "" {
		return s, err
	}
	for _, id := range token.Continue(f.Tok, s.Tokens, f.Opening, token.EncodeOptions{Special: true}) {
		s.Tokens, s.Kind = append(s.Tokens, id), append(s.Kind, engine.KindInserted)
	}
	return s, nil
}

// question is a prompt without the opening of its answer.
func (f *Format) question(p *task.Problem) (*engine.Sequence, error) {
	var ids []int32
	if f.Template == nil {
		ids = f.Tok.Encode(paragraphs(p.System, p.ToolText, p.Question+f.Suffix)+"\n", token.EncodeOptions{AddSpecial: true})
	} else {
		var err error
		m, tools := f.messages(p)
		if ids, err = chat.PromptTokens(f.Tok, f.Template, m, tools); err != nil {
			return nil, fmt.Errorf("problem %s: %w", p.ID, err)
		}
	}
	return &engine.Sequence{ID: engine.ItemID{Problem: p.ID}, Tokens: ids, Kind: make([]engine.Kind, len(ids))}, nil
}

// Demo returns a question with its answer as one sequence whose answer tokens, end token included, are demonstrated.
func (f *Format) Demo(p *task.Problem, answer string) (*engine.Sequence, error) {
	s, err := f.question(p)
	if err != nil {
		return nil, err
	}
	prompt := len(s.Tokens)
	if f.Template == nil {
		if f.Tok.EOS() < 0 {
			return nil, fmt.Errorf("tokenizer %s has no end token, so an answer could never end: use a model with one", f.Tok.Name())
		}
		s.Tokens = append(append(s.Tokens, token.Continue(f.Tok, s.Tokens, answer, token.EncodeOptions{})...), f.Tok.EOS())
	} else {
		m, tools := f.messages(p)
		got, err := chat.TrainTokens(f.Tok, f.Template, append(m, chat.Message{Role: "assistant", Content: answer}), tools, chat.Last)
		if err != nil {
			return nil, fmt.Errorf("problem %s: %w", p.ID, err)
		}
		if !slices.Equal(got.IDs[:min(prompt, len(got.IDs))], s.Tokens) {
			return nil, fmt.Errorf("problem %s: the chat template writes the question differently with an answer after it: demonstrations would not match prompts", p.ID)
		}
		s.Tokens = got.IDs
		s.Kind = make([]engine.Kind, len(got.IDs))
		for t, w := range got.Weights {
			if w != 0 {
				s.Kind[t] = engine.KindDemo
			}
		}
		return s, nil
	}
	for range s.Tokens[prompt:] {
		s.Kind = append(s.Kind, engine.KindDemo)
	}
	return s, nil
}

// Response returns the sampled text of a sequence without special tokens.
func (f *Format) Response(s *engine.Sequence) string {
	var ids []int32
	for t, id := range s.Tokens {
		if k := s.KindAt(t); k == engine.KindSampled || k == engine.KindForced {
			ids = append(ids, id)
		}
	}
	return f.Tok.Decode(ids, true)
}

// Judge lets a model grade answers on a scale: it is asked through the format, without tools, and its reply read as text. Give the judge a
// format of its own where the policy's system turn and suffix should not reach it.
func (f *Format) Judge(label string, model reward.Sampler, scale reward.Scale, params engine.Params, key engine.Key) *reward.ModelJudge {
	return &reward.ModelJudge{
		Label: label, Model: model, Scale: scale, Params: f.Stops(params), Key: key, Read: f.Response,
		Write: func(text string) (*engine.Sequence, error) { return f.Prompt(&task.Problem{ID: label, Question: text}) },
	}
}

// ScoreJudge is Judge for a model that tells how probable each grade is.
func (f *Format) ScoreJudge(label string, model reward.Scorer, scale reward.Scale) *reward.ScoreJudge {
	return &reward.ScoreJudge{
		Label: label, Model: model, Scale: scale,
		Write: func(text, reply string) (*engine.Sequence, error) {
			return f.Demo(&task.Problem{ID: label, Question: text}, reply)
		},
	}
}

// Stops adds the tokenizer's end tokens to the stop ids.
func (f *Format) Stops(p engine.Params) engine.Params {
	p.StopIDs = append(slices.Clone(p.StopIDs), f.Tok.EndIDs()...)
	return p
}

// TaskGrader grades answers by the task's own check.
type TaskGrader struct{ Task task.Task }

// Name implements reward.Grader.
func (g TaskGrader) Name() string { return g.Task.Name() }

// Grade implements reward.Grader.
func (g TaskGrader) Grade(ctx context.Context, groups []*Group) error {
	for _, group := range groups {
		for _, e := range group.Episodes {
			r := g.Task.Check(e.Problem, e.Text)
			e.Grade = reward.Grade{Score: r.Score, Verdict: r.Verdict, Answer: r.Answer, Detail: r.Detail}
			for _, t := range r.Terms {
				e.Grade.Terms = append(e.Grade.Terms, reward.Term{Name: t.Name, Value: t.Value, Turn: -1})
			}
		}
	}
	return ctx.Err()
}
