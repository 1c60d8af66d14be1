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
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hone-lm/hone/chat/internal/jinja"
	"github.com/hone-lm/hone/token"
)

// ErrNoTemplate means that a tokenizer came without a chat template.
var ErrNoTemplate = errors.New("the tokenizer has no chat template: name one, or use prompt and completion columns")

// Template is a compiled chat template. It is immutable and safe for concurrent use.
type Template struct {
	name    string
	program *jinja.Template
	base    map[string]jinja.Value
	tools   func() bool // see TakesTools
}

// New compiles a chat template. With an empty source it takes the tokenizer's own (ErrNoTemplate if there is none). The tokenizer's
// special tokens become bos_token, eos_token, pad_token and unk_token of the context; tok may be nil.
func New(source string, tok token.Tokenizer) (*Template, error) {
	t := &Template{name: "template", base: map[string]jinja.Value{"tools": nil, "documents": nil}}
	if tok != nil {
		t.name = tok.Name()
		if source == "" {
			source = tok.ChatTemplate()
		}
		special := func(key string, id int32) {
			if id >= 0 {
				t.base[key] = tok.Token(id)
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
	var err error
	if t.program, err = jinja.Parse(source); err != nil {
		return nil, fmt.Errorf("chat template of %s: %w", t.name, err)
	}
	t.tools = sync.OnceValue(t.showsTools)
	return t, nil
}

// TakesTools reports whether the template shows a model the tools that it is given.
func (t *Template) TakesTools() bool { return t.tools() }

// showsTools renders a question with and without a tool.
func (t *Template) showsTools() bool {
	const probe = `[{"type": "function", "function": {"name": "probe_tool", "description": "probe", "parameters": {"type": "object", "properties": {}, "required": []}}}]`
	text, err := t.Render([]Message{{Role: "user", Content: "?"}}, RenderOptions{Tools: json.RawMessage(probe), AddGenerationPrompt: true})
	return err == nil && strings.Contains(text, "probe_tool")
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
	res, err := t.render(msgs, o)
	return res.Text, err
}

func (t *Template) render(msgs []Message, o RenderOptions) (jinja.Result, error) {
	fail := func(what string, err error) (jinja.Result, error) {
		return jinja.Result{}, fmt.Errorf("%s: %w", what, err)
	}
	data := maps.Clone(t.base)
	items := make([]jinja.Value, len(msgs))
	for i, m := range msgs {
		var err error
		if items[i], err = m.value(); err != nil {
			return fail(fmt.Sprintf("message %d", i+1), err)
		}
	}
	data["messages"] = &jinja.List{Items: items}
	data["add_generation_prompt"] = o.AddGenerationPrompt
	if len(o.Tools) > 0 {
		v, err := jinja.FromJSON(o.Tools)
		if err != nil {
			return fail("tools", err)
		}
		data["tools"] = v
	}
	for _, k := range slices.Sorted(maps.Keys(o.Context)) {
		v, err := jinja.FromJSON(o.Context[k])
		if err != nil {
			return fail("context "+k, err)
		}
		data[k] = v
	}
	res, err := t.program.Render(data, present(o.Now))
	if err != nil {
		return fail("chat template of "+t.name, err)
	}
	return res, nil
}

// RenderContext renders a template over a JSON object of variables. now is the time that strftime_now sees; zero: the present.
func RenderContext(source string, context json.RawMessage, now time.Time) (string, error) {
	p, err := jinja.Parse(source)
	if err != nil {
		return "", err
	}
	data := map[string]jinja.Value{}
	if len(context) > 0 {
		v, err := jinja.FromJSON(context)
		if err != nil {
			return "", fmt.Errorf("context: %w", err)
		}
		d, ok := v.(*jinja.Dict)
		if !ok {
			return "", errors.New("context: must be a JSON object")
		}
		data = d.Strings()
	}
	res, err := p.Render(data, present(now))
	return res.Text, err
}

func present(now time.Time) time.Time {
	if now.IsZero() {
		return time.Now()
	}
	return now
}
