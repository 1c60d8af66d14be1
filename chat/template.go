// Package chat renders conversations with a model's chat template (Jinja) and turns them into tokens with the mask of trained ones.
//
// Templates run in the environment of Hugging Face transformers: trim_blocks, lstrip_blocks, loop controls, tojson without HTML
// escaping, raise_exception, strftime_now.
package chat

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/ardanlabs/jinja"

	"github.com/hone-lm/hone/token"
)

// ErrNoTemplate means that a tokenizer came without a chat template.
var ErrNoTemplate = errors.New("the tokenizer has no chat template: name one, or use prompt and completion columns")

// Template is a compiled chat template. It is immutable and safe for concurrent use.
type Template struct {
	name    string
	program *jinja.Template
	marked  *jinja.Template // with {% generation %} blocks turned into marks; nil: the template has none
	base    map[string]jinja.Value
}

// New compiles a chat template. With an empty source it takes the tokenizer's own (ErrNoTemplate if there is none). The tokenizer's
// special tokens become bos_token, eos_token, pad_token and unk_token of the context; tok may be nil.
func New(source string, tok token.Tokenizer) (*Template, error) {
	t := &Template{name: "template", base: map[string]jinja.Value{"tools": jinja.None()}}
	if tok != nil {
		t.name = tok.Name()
		if source == "" {
			source = tok.ChatTemplate()
		}
		special := func(key string, id int32) {
			if id >= 0 {
				t.base[key] = jinja.NewString(tok.Token(id))
			}
		}
		special("bos_token", tok.BOS())
		special("eos_token", tok.EOS())
		special("pad_token", tok.PAD())
		special("unk_token", tok.UNK())
	}
	if source == "" {
		return nil, fmt.Errorf("%s: %w", t.name, ErrNoTemplate)
	}
	plain, marked, has, err := prepare(source)
	if err != nil {
		return nil, fmt.Errorf("chat template of %s: %w", t.name, err)
	}
	if t.program, err = compile(plain); err != nil {
		return nil, fmt.Errorf("chat template of %s: %w", t.name, err)
	}
	if has {
		if t.marked, err = compile(marked); err != nil {
			return nil, fmt.Errorf("chat template of %s: %w", t.name, err)
		}
	}
	return t, nil
}

// RenderOptions are what a template may see beside the messages.
type RenderOptions struct {
	AddGenerationPrompt bool
	Tools               json.RawMessage            // list of tool schemas; empty: none
	Now                 time.Time                  // for strftime_now; zero: the present
	Context             map[string]json.RawMessage // further variables (enable_thinking ...); they win over the others
}

// Render renders messages as text. An error of the template itself (raise_exception) is returned with its text.
func (t *Template) Render(msgs []Message, o RenderOptions) (string, error) {
	return t.render(t.program, msgs, o)
}

func (t *Template) render(p *jinja.Template, msgs []Message, o RenderOptions) (string, error) {
	data := maps.Clone(t.base)
	items := make([]jinja.Value, len(msgs))
	for i, m := range msgs {
		v, err := m.value()
		if err != nil {
			return "", fmt.Errorf("message %d: %w", i+1, err)
		}
		items[i] = v
	}
	data["messages"] = jinja.NewList(items)
	data["add_generation_prompt"] = jinja.NewBool(o.AddGenerationPrompt)
	if len(o.Tools) > 0 {
		v, err := fromJSON(o.Tools)
		if err != nil {
			return "", fmt.Errorf("tools: %w", err)
		}
		data["tools"] = v
	}
	for k, raw := range o.Context {
		v, err := fromJSON(raw)
		if err != nil {
			return "", fmt.Errorf("context %s: %w", k, err)
		}
		data[k] = v
	}
	text, err := run(p, data, o.Now)
	if err != nil {
		return "", fmt.Errorf("chat template of %s: %w", t.name, err)
	}
	return text, nil
}

// RenderContext renders a template over a JSON object of variables. now is the time that strftime_now sees; zero: the present.
func RenderContext(source string, context json.RawMessage, now time.Time) (string, error) {
	plain, _, _, err := prepare(source)
	if err != nil {
		return "", err
	}
	p, err := compile(plain)
	if err != nil {
		return "", err
	}
	data := map[string]jinja.Value{}
	if len(context) > 0 {
		v, err := fromJSON(context)
		if err != nil {
			return "", fmt.Errorf("context: %w", err)
		}
		if !v.IsDict() {
			return "", errors.New("context: must be a JSON object")
		}
		maps.Copy(data, v.AsDict().Data)
	}
	return run(p, data, now)
}
