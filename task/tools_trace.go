package task

import (
	"errors"
	"fmt"
	"slices"

	"github.com/hone-lm/hone/internal/rng"
	"github.com/hone-lm/hone/task/toolcall"
)

// ToolStep chooses a tool for ask number Ask (Param ""), or works out the value of a parameter.
type ToolStep struct {
	Ask   int
	Tool  string // "" where none fits
	Param string
	Value string // as it is written in the call
}

// Expert implements Task: for each wanted call its tool, then the values that have to be worked out; where something is missing, that. There
// are no wrong turns; a corrupted trace has one wrong value, or calls what cannot be called.
func (t *toolCalls) Expert(p *Problem) (*Trace, error) {
	data, err := dataOf[ToolCalls](t, p)
	if err != nil {
		return nil, err
	}
	if err := data.valid(); err != nil {
		return nil, err
	}
	tr := &Trace{Problem: p, Answer: data.answer(), Steps: data.steps()}
	steps := tr.Steps
	tr.corrupt = func(key rng.Key) ([]Step, Words, error) { return data.corrupt(steps, &draw{key: key}) }
	return tr, nil
}

// steps ends at the first thing that is missing.
func (c *ToolCalls) steps() []Step {
	var out []Step
	for i := range c.Asks {
		a := &c.Asks[i]
		tool := c.find(a)
		if tool == nil {
			return append(out, Step{Kind: Contradiction, Data: &ToolStep{Ask: i},
				Text: Words{"no " + a.Verb + "_" + a.Noun, fmt.Sprintf("No function can %s a %s.", a.Verb, a.Noun)}})
		}
		name := tool.name()
		out = append(out, Step{Kind: Derive, Data: &ToolStep{Ask: i, Tool: name},
			Text: Words{name, fmt.Sprintf("To %s a %s, call %s.", a.Verb, a.Noun, name)}, Plan: Words{name, "Call " + name + "."}})
		if _, missing := a.call(tool); missing != "" {
			return append(out, Step{Kind: Contradiction, Data: &ToolStep{Ask: i, Tool: name, Param: missing},
				Text: Words{"no " + missing, fmt.Sprintf("The request does not tell the %s.", missing)}})
		}
		for _, p := range tool.Params {
			v := &a.Values[slices.IndexFunc(a.Values, func(v ToolValue) bool { return v.Kind == p.Kind })]
			if s, ok := v.step(i, name, p.Name, v.value()); ok {
				out = append(out, s)
			}
		}
	}
	return out
}

// step works out a value; ok is false where it is copied.
func (v *ToolValue) step(ask int, tool, param string, value toolcall.Value) (s Step, ok bool) {
	text := fmt.Sprint(value)
	work := v.work(text)
	return Step{Kind: Compute, Text: work, Data: &ToolStep{Ask: ask, Tool: tool, Param: param, Value: text}}, work != Words{}
}

// corrupt gives one argument another value; the step that works it out, or that chooses the tool, is labelled.
func (c *ToolCalls) corrupt(right []Step, d *draw) ([]Step, Words, error) {
	steps := slices.Clone(right)
	calls := c.calls()
	if calls == nil {
		tool := &c.Tools[d.intn(len(c.Tools))]
		call := toolcall.Call{Name: tool.name(), Args: &toolcall.Dict{}}
		for _, p := range tool.Params {
			v := drawValue(d, p.Kind, false)
			_ = call.Args.Set(p.Name, v.value()) // a string is a key
		}
		last := len(steps) - 1
		steps[last].Wrong, steps[last].Kind = true, Derive
		steps[last].Text = Words{tool.name(), fmt.Sprintf("Call %s.", tool.name())}
		return steps, callsText([]toolcall.Call{call}), nil
	}
	i := d.intn(len(c.Asks))
	a := &c.Asks[i]
	tool := c.find(a)
	p := tool.Params[d.intn(len(tool.Params))]
	v := &a.Values[slices.IndexFunc(a.Values, func(v ToolValue) bool { return v.Kind == p.Kind })]
	wrong := v.other(d)
	_ = calls[i].Args.Set(p.Name, wrong) // a string is a key
	if toolcall.Match(c.calls(), calls).Strict {
		return nil, Words{}, errors.New("every other value is another right answer")
	}
	for k := range steps {
		s := steps[k].Data.(*ToolStep)
		if s.Ask != i || s.Param != p.Name && s.Param != "" {
			continue
		}
		if s.Param == "" && v.Form != "" {
			continue
		}
		steps[k].Wrong = true
		if s.Param != "" {
			steps[k], _ = v.step(i, s.Tool, s.Param, wrong)
			steps[k].Wrong = true
		}
	}
	return steps, callsText(calls), nil
}
