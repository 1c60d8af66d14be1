package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/hone-lm/hone/chat"
	"github.com/hone-lm/hone/token"
)

type renderVerb struct {
	Tokenizer string `type:"path" help:"Use this tokenizer's chat template and its special tokens."`
	Mask      bool   `help:"Tokens and training weights of a conversation instead of text; needs --tokenizer."`
}

func (renderVerb) Help() string {
	return `Fields: "template" (left out with --tokenizer), "context" with the template's variables, and optionally "now", the time that strftime_now
sees. A template that raises gives {"error": ...}. With --mask the fields are "messages" and optionally "tools", and the reply has a
weight of 0 or 1 for each token.

  $ echo '{"template": "{{ messages[0].content }}!", "context": {"messages": [{"role": "user", "content": "Hi"}]}}' | hone tool render
  {"text":"Hi!"}
  $ echo '{"context": {"messages": [{"role": "user", "content": "Hi"}], "add_generation_prompt": true}}' | hone tool render --tokenizer model.gguf
  {"text":"<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"}
  $ echo '{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}]}' | hone tool render --mask --tokenizer model.gguf
  {"text":"...","ids":[1,4093,...],"weights":[0,0,...,1,1]}`
}

func (v *renderVerb) Run(a *app) error {
	if v.Tokenizer == "" {
		if v.Mask {
			return badCallf("hone tool render --mask needs --tokenizer PATH: weights belong to tokens")
		}
		return a.serve(renderTemplate)
	}
	flags := tokenizerFlags{Tokenizer: v.Tokenizer}
	t, err := token.Load(v.Tokenizer)
	if errors.As(err, new(*token.ErrUnsupported)) {
		return flags.withTokenizer(a, nil)
	}
	if err != nil {
		return badCall{err}
	}
	template, err := chat.New("", t)
	if err != nil {
		return badCall{err}
	}
	if v.Mask {
		return a.serve(func(line []byte) (any, error) { return renderMask(t, template, line) })
	}
	return a.serve(func(line []byte) (any, error) {
		var req struct {
			Context json.RawMessage `json:"context"`
			Now     string          `json:"now,omitempty"`
		}
		if err := decodeRequest(line, &req); err != nil {
			return nil, err
		}
		now, err := parseNow(req.Now)
		if err != nil {
			return nil, err
		}
		var variables map[string]json.RawMessage
		if err := json.Unmarshal(req.Context, &variables); err != nil || variables == nil {
			return nil, errors.New(`field "context": expected an object with the template's variables`)
		}
		text, err := template.Render(nil, chat.RenderOptions{Context: variables, Now: now})
		return textReply{text}, err
	})
}

type textReply struct {
	Text string `json:"text"`
}

func renderTemplate(line []byte) (any, error) {
	var req struct {
		Template string          `json:"template"`
		Context  json.RawMessage `json:"context"`
		Now      string          `json:"now,omitempty"`
	}
	if err := decodeRequest(line, &req); err != nil {
		return nil, err
	}
	now, err := parseNow(req.Now)
	if err != nil {
		return nil, err
	}
	text, err := chat.RenderContext(req.Template, req.Context, now)
	return textReply{text}, err
}

func parseNow(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil // the present
	}
	t, err := time.Parse("2006-01-02T15:04:05", s)
	if err != nil {
		return t, fmt.Errorf(`field "now" is %q: write it as 2025-07-10T12:00:00`, s)
	}
	return t, nil
}

type maskReply struct {
	Text    string    `json:"text"`
	IDs     []int32   `json:"ids"`
	Weights []float32 `json:"weights"`
}

// renderMask renders a conversation as training does, with weights for every answer.
func renderMask(t token.Tokenizer, template *chat.Template, line []byte) (any, error) {
	var req struct {
		Messages []chat.Message  `json:"messages"`
		Tools    json.RawMessage `json:"tools,omitempty"`
	}
	if err := decodeRequest(line, &req); err != nil {
		return nil, err
	}
	got, err := chat.TrainTokens(t, template, req.Messages, req.Tools, chat.Answers)
	if err != nil {
		return nil, err
	}
	return maskReply{got.Text, append([]int32{}, got.IDs...), append([]float32{}, got.Weights...)}, nil
}
