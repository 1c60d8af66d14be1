package task

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hone-lm/hone/internal/rng"
	"github.com/hone-lm/hone/task/toolcall"
)

// ToolCalls asks for the calls of made-up tools that a request wants, after the smallest experiment of iTool (arXiv 2501.09766): a list of
// tools with distractors, one to three calls, values to copy or to work out, and requests that cannot be met, because the tool or a value
// is missing. Those want the answer "none".
type ToolCalls struct {
	Tools []Tool    `json:"tools"` // in the order of the question
	Asks  []ToolAsk `json:"asks"`  // what the request wants, in its order
}

// Tool is called VERB_NOUN. All its parameters are required, and no two have one kind.
type Tool struct {
	Verb   string      `json:"verb"`
	Noun   string      `json:"noun"`
	Params []ToolParam `json:"params"`
}

// ToolParam is a parameter; Kind says what it holds (see toolKinds), Name is one of the kind's names.
type ToolParam struct {
	Name string `json:"name"`
	Kind string `json:"kind"`
}

// ToolAsk wants one tool called with values, which the request tells in this order.
type ToolAsk struct {
	Verb   string      `json:"verb"`
	Noun   string      `json:"noun"`
	Values []ToolValue `json:"values"`
}

func (t *Tool) name() string { return t.Verb + "_" + t.Noun }

// signature is the tool in few bytes: book_room(place:str,day:str).
func (t *Tool) signature() string {
	parts := make([]string, len(t.Params))
	for i, p := range t.Params {
		parts[i] = p.Name + ":" + toolKinds[p.Kind].short
	}
	return t.name() + "(" + strings.Join(parts, ",") + ")"
}

// doc is the tool's description as functions are described elsewhere.
func (t *Tool) doc() *toolcall.Dict {
	props, required := &toolcall.Dict{}, toolcall.List{}
	for _, p := range t.Params {
		k := toolKinds[p.Kind]
		_ = props.Set(p.Name, toolcall.NewDict("type", k.long, "description", k.about)) // a string is a key
		required = append(required, p.Name)
	}
	return toolcall.NewDict("name", t.name(), "description", fmt.Sprintf("%s a %s.", title(t.Verb), t.Noun),
		"parameters", toolcall.NewDict("type", "object", "properties", props, "required", required))
}

// The split is decided by what is requested, whatever the tools: no request is met in two splits.
func (c *ToolCalls) canonical() (all, group string) {
	tools := make([]string, len(c.Tools))
	for i := range c.Tools {
		tools[i] = c.Tools[i].signature()
	}
	asks := make([]string, len(c.Asks))
	for i, a := range c.Asks {
		values := make([]string, len(a.Values))
		for k, v := range a.Values {
			values[k] = v.phrase(Compact)
		}
		slices.Sort(values)
		asks[i] = a.Verb + " " + a.Noun + " " + strings.Join(values, " ")
	}
	slices.Sort(asks)
	return strings.Join(tools, " ") + " ? " + c.request(Compact), strings.Join(asks, "; ")
}

const maxTools = 24

func (c *ToolCalls) valid() error {
	if len(c.Tools) < 1 || len(c.Tools) > maxTools || len(c.Asks) < 1 || len(c.Asks) > 8 {
		return fmt.Errorf("%d tools and %d wanted calls; want 1 to %d and 1 to 8", len(c.Tools), len(c.Asks), maxTools)
	}
	seen := map[string]bool{}
	for _, t := range c.Tools {
		if !plainWord(t.Verb) || !plainWord(t.Noun) || seen[t.name()] {
			return fmt.Errorf("tool %q: want two words of small letters, and no tool twice", t.name())
		}
		seen[t.name()] = true
		kinds := map[string]bool{}
		for _, p := range t.Params {
			if toolKinds[p.Kind] == nil || kinds[p.Kind] || !plainWord(p.Name) {
				return fmt.Errorf("tool %s: parameter %q of kind %q: want a known kind, once, and a name in small letters", t.name(), p.Name, p.Kind)
			}
			kinds[p.Kind] = true
		}
	}
	for _, a := range c.Asks {
		if !plainWord(a.Verb) || !plainWord(a.Noun) {
			return fmt.Errorf("wanted call %q %q: want two words of small letters", a.Verb, a.Noun)
		}
		for _, v := range a.Values {
			if err := v.valid(); err != nil {
				return err
			}
		}
	}
	return nil
}

// plainWord reports whether a word is made of small letters and underscores.
func plainWord(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz_") == ""
}

// find returns the tool that an ask wants, nil if it is not on offer.
func (c *ToolCalls) find(a *ToolAsk) *Tool {
	for i := range c.Tools {
		if c.Tools[i].Verb == a.Verb && c.Tools[i].Noun == a.Noun {
			return &c.Tools[i]
		}
	}
	return nil
}

// call is the call of a tool that an ask wants; missing names a parameter for which the request has no value.
func (a *ToolAsk) call(t *Tool) (call toolcall.Call, missing string) {
	call = toolcall.Call{Name: t.name(), Args: &toolcall.Dict{}}
	for _, p := range t.Params {
		i := slices.IndexFunc(a.Values, func(v ToolValue) bool { return v.Kind == p.Kind })
		if i < 0 {
			return call, p.Name
		}
		_ = call.Args.Set(p.Name, a.Values[i].value()) // a string is a key
	}
	return call, ""
}

// calls is the right answer; nil when the request cannot be met.
func (c *ToolCalls) calls() []toolcall.Call {
	var out []toolcall.Call
	for i := range c.Asks {
		t := c.find(&c.Asks[i])
		if t == nil {
			return nil
		}
		call, missing := c.Asks[i].call(t)
		if missing != "" {
			return nil
		}
		out = append(out, call)
	}
	return out
}

// callsText writes calls; the compact wording leaves the spaces behind commas out, which no value has.
func callsText(calls []toolcall.Call) Words {
	text := toolcall.Python(calls)
	return Words{strings.ReplaceAll(text, ", ", ","), text}
}

// answer is the right answer as text.
func (c *ToolCalls) answer() Words {
	if calls := c.calls(); calls != nil {
		return callsText(calls)
	}
	return Words{"none", "none"}
}

type toolCalls struct {
	common
	fromTools, toTools int
	refuse             float64 // share of requests that cannot be met
	words              *toolWords
}

func init() {
	register("tool_calls", entry{
		about: "call made-up tools as a request wants (levels 1 to 5: one to three calls, values copied or worked out)",
		open: func(o *options) Task {
			t := &toolCalls{common: o.common(1, 5, 1, 5)}
			t.fromTools, t.toTools = o.span("tools", 6, 12, 3, maxTools)
			t.refuse = o.float("refuse", .15, 0, 1)
			t.words = toolWordings[o.choice("names", "plain", "other")]
			return t
		},
		data: func() content { return &ToolCalls{} },
	})
}

// Generate implements Generator. Level 1 wants one call with values to copy, 2 one with values to work out, 3 and 4 the same for two calls,
// 5 three calls with values to work out. Above level 1, half of the distractors share a word with a wanted tool.
func (t *toolCalls) Generate(key rng.Key, level int) (*Problem, error) {
	d := &draw{key: key}
	level, err := t.level(d, level)
	if err != nil {
		return nil, err
	}
	wanted, derived := (level+1)/2, level%2 == 0 || level == 5
	data := &ToolCalls{Tools: t.tools(d, d.between(t.fromTools, t.toTools), wanted, level > 1)}
	for i := range wanted {
		tool := &data.Tools[i]
		if i > 0 && d.float() < .3 {
			tool = &data.Tools[i-1] // one tool twice, for other values
		}
		data.Asks = append(data.Asks, askFor(d, tool, derived, data.Asks))
	}
	if d.float() < t.refuse {
		data.spoil(d)
	}
	tools := make([]Tool, len(data.Tools))
	for i, k := range d.perm(len(tools)) {
		tools[i] = data.Tools[k]
	}
	data.Tools = tools
	return newProblem(t, level, data, t.wording, data.answer().In(t.wording)), nil
}

// tools draws n different tools, the wanted ones first; each of those has a parameter whose value can be worked out.
func (t *toolCalls) tools(d *draw, n, wanted int, near bool) []Tool {
	var out []Tool
	seen := map[string]bool{}
	for len(out) < n {
		tool := Tool{Verb: t.words.verbs[d.intn(len(t.words.verbs))], Noun: t.words.nouns[d.intn(len(t.words.nouns))]}
		if near && len(out) >= wanted && d.intn(2) == 0 {
			like := &out[d.intn(wanted)]
			if d.intn(2) == 0 {
				tool.Verb = like.Verb
			} else {
				tool.Noun = like.Noun
			}
		}
		if seen[tool.name()] {
			continue
		}
		seen[tool.name()] = true
		var kinds []string
		if len(out) < wanted {
			kinds = append(kinds, derivedKinds[d.intn(len(derivedKinds))])
		}
		size := d.between(1, 3)
		for _, k := range d.perm(len(kindNames)) {
			if kind := kindNames[k]; len(kinds) < size && !slices.Contains(kinds, kind) {
				kinds = append(kinds, kind)
			}
		}
		for _, k := range d.perm(len(kinds)) {
			names := t.words.params[kinds[k]]
			tool.Params = append(tool.Params, ToolParam{names[d.intn(len(names))], kinds[k]})
		}
		out = append(out, tool)
	}
	return out
}

// askFor draws values for a tool, in a random order and unlike those of earlier asks for it. Where derived is set, at least one of them is
// to be worked out.
func askFor(d *draw, tool *Tool, derived bool, before []ToolAsk) ToolAsk {
	for {
		a := ToolAsk{Verb: tool.Verb, Noun: tool.Noun}
		worked := false
		for _, i := range d.perm(len(tool.Params)) {
			kind := tool.Params[i].Kind
			v := drawValue(d, kind, derived && d.intn(3) > 0)
			worked = worked || v.Form != ""
			a.Values = append(a.Values, v)
		}
		same := slices.ContainsFunc(before, func(b ToolAsk) bool {
			if b.Verb != a.Verb || b.Noun != a.Noun {
				return false
			}
			x, _ := a.call(tool)
			y, _ := b.call(tool)
			return toolcall.Equal(x.Args, y.Args)
		})
		if worked == derived && !same {
			return a
		}
	}
}

// spoil makes the request one that cannot be met: a wanted tool is not on offer, or a value is not told.
func (c *ToolCalls) spoil(d *draw) {
	a := &c.Asks[d.intn(len(c.Asks))]
	if d.intn(2) == 0 {
		i := d.intn(len(a.Values))
		a.Values = slices.Delete(a.Values, i, i+1)
		return
	}
	verb, noun := a.Verb, a.Noun
	c.Tools = slices.DeleteFunc(c.Tools, func(t Tool) bool { return t.Verb == verb && t.Noun == noun })
}

// Question implements Task. The compact form is "book_room(place:str,day:str) rent_car(n:int) ? book room,in rome,2 days after mon".
func (t *toolCalls) Question(p *Problem, w Wording) string {
	data, err := dataOf[ToolCalls](t, p)
	if err != nil {
		return p.Question
	}
	lines := make([]string, len(data.Tools))
	for i := range data.Tools {
		if w != Natural {
			lines[i] = data.Tools[i].signature()
		} else if lines[i], err = toolcall.EncodeJSON(data.Tools[i].doc()); err != nil {
			return p.Question
		}
	}
	if w != Natural {
		return strings.Join(lines, " ") + " ? " + data.request(w)
	}
	return "You can call these functions:\n" + strings.Join(lines, "\n") +
		"\nAnswer with a list of calls such as [name(parameter=value)], or with \"none\" if no function does what is asked or a value is missing.\n\n" + data.request(w)
}

// request is what is asked, without the tools.
func (c *ToolCalls) request(w Wording) string {
	var asks []string
	comma := ","
	if w == Natural {
		comma = ", "
	}
	for _, a := range c.Asks {
		parts := []string{a.Verb + " " + a.Noun}
		if w == Natural {
			parts[0] = a.Verb + " a " + a.Noun
		}
		for _, v := range a.Values {
			parts = append(parts, v.phrase(w))
		}
		asks = append(asks, strings.Join(parts, comma))
	}
	if w != Natural {
		return strings.Join(asks, "; ")
	}
	return "Please " + strings.Join(asks, ", then ") + "."
}

// refusals begin an answer in words that nothing can be called.
var refusals = []string{"none", "no ", "nothing", "cannot", "can't", "i cannot", "i can't", "sorry", "unable"}

func isRefusal(text string) bool {
	text = strings.ToLower(strings.Trim(text, " .!\n\"'`"))
	return slices.ContainsFunc(refusals, func(r string) bool { return strings.HasPrefix(text+" ", r) })
}

// Check implements Task: the same calls in any order, values compared as toolcall.Same does; "none", [] or words to that effect where the
// request cannot be met. Terms: parsed, kind (calls where calls are wanted, none where none are), match (see toolcall.Match), values (the
// share of right arguments).
func (t *toolCalls) Check(p *Problem, answer string) Result {
	data, err := dataOf[ToolCalls](t, p)
	if err != nil {
		return failed(err)
	}
	gold := data.calls()
	calls, err := readCalls(answer)
	text, _ := Final(answer)
	if err == nil {
		text = callsText(calls).Compact
	} else if !isRefusal(text) {
		return unparsed(text, "no calls: %v", err)
	}
	score := toolcall.Match(gold, calls)
	terms := matchTerms(score)
	kind := Term{"kind", truth((len(calls) > 0) == (gold != nil))}
	if kind.Value == 0 {
		terms[2].Value = 0 // no argument is right in an answer of the wrong kind
	}
	return judged(score.Strict, text, "want "+data.answer().Compact, append([]Term{terms[0], kind}, terms[1:]...)...)
}
