package task

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hone-lm/hone/internal/rng"
	"github.com/hone-lm/hone/task/toolcall"
)

// BFCL is a row of the Berkeley Function-Calling Leaderboard (Python categories). Functions and Answers are JSON as text, so that the
// order of their keys, which prompts show, survives.
type BFCL struct {
	Row         string        `json:"row"` // id in the file
	Category    string        `json:"category"`
	Messages    []BFCLMessage `json:"messages"`
	Functions   string        `json:"functions"`
	Answers     string        `json:"answers,omitempty"` // "" where no call is judged
	Underscores bool          `json:"underscores,omitempty"`
}

// BFCLMessage is one turn of a row.
type BFCLMessage struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// The split is decided by what the user says: one question over two lists of functions is never in two splits.
func (b *BFCL) canonical() (all, group string) {
	var said strings.Builder
	for _, m := range b.Messages {
		fmt.Fprintf(&said, "%s: %s\n", m.Role, m.Content)
	}
	return fmt.Sprintf("%s underscores=%v\n%s%s", b.Category, b.Underscores, said.String(), b.Functions), said.String()
}

func (b *BFCL) valid() error {
	if !slices.Contains(bfclCategories, b.Category) {
		return fmt.Errorf("category %q: the categories are %s", b.Category, strings.Join(bfclCategories, ", "))
	}
	if len(b.Messages) == 0 {
		return errors.New("the row has no messages")
	}
	q, err := b.question()
	if err == nil && q.Answers == nil && !strings.Contains(b.Category, "relevance") {
		err = errors.New("the row has no possible answers")
	}
	return err
}

// question is the row in the form that judges it.
func (b *BFCL) question() (*toolcall.Question, error) {
	q := &toolcall.Question{ID: b.Row, Category: b.Category, Underscores: b.Underscores}
	var err error
	if q.Functions, err = jsonList(b.Functions); err != nil {
		return nil, fmt.Errorf("functions: %w", err)
	}
	if b.Answers != "" {
		if q.Answers, err = jsonList(b.Answers); err != nil {
			return nil, fmt.Errorf("answers: %w", err)
		}
	}
	return q, nil
}

func jsonList(text string) (toolcall.List, error) {
	v, err := toolcall.DecodeJSON(text)
	if err != nil {
		return nil, err
	}
	list, ok := v.(toolcall.List)
	if !ok {
		return nil, errors.New("want a JSON list")
	}
	return list, nil
}

// offer implements offering. A row whose functions cannot be written offers none; making its problem has complained before.
func (b *BFCL) offer(p *Problem) {
	var system []string
	for _, m := range b.Messages {
		if m.Role == "system" {
			system = append(system, m.Content)
		}
	}
	p.System = strings.Join(system, "\n\n")
	q, err := b.question()
	if err != nil {
		return
	}
	functions := q.Functions
	if b.Underscores {
		functions = underscored(functions)
	}
	tools, err1 := toolcall.Tools(functions)
	docs, err2 := toolcall.Docs(functions)
	if err1 == nil && err2 == nil {
		p.Tools, p.ToolText = json.RawMessage(tools), toolcall.Instruction(docs)
	}
}

// underscored replaces the dots in the functions' names.
func underscored(functions toolcall.List) toolcall.List {
	out := make(toolcall.List, len(functions))
	for i, f := range functions {
		out[i] = f
		d, ok := f.(*toolcall.Dict)
		if !ok {
			continue
		}
		with := &toolcall.Dict{}
		for _, it := range d.Items() {
			if name, ok := it.Value.(string); ok && it.Key == "name" {
				it.Value = strings.ReplaceAll(name, ".", "_")
			}
			_ = with.Set(it.Key, it.Value) // a key already
		}
		out[i] = with
	}
	return out
}

// bfclCategories are those whose answers are Python.
var bfclCategories = slices.DeleteFunc(slices.Clone(toolcall.Categories), func(c string) bool { return strings.Contains(c, "java") })

type bfclTask struct {
	path, category string
	underscores    bool
	heldout        bool
}

func init() {
	register("bfcl", entry{
		about: "tool calls: questions of the Berkeley Function-Calling Leaderboard with its verdicts (path=FOLDER, category=NAME)",
		open: func(o *options) Task {
			t := &bfclTask{}
			t.path, _ = o.text("path")
			if t.path == "" {
				o.fail("option path is missing: the folder with BFCL_v4_CATEGORY.json, as in bfcl?path=FOLDER&category=simple_python")
			}
			if o.level != 0 {
				o.fail("level %d: problems from files have no levels", o.level)
			}
			t.category = o.choice("category", bfclCategories...)
			t.underscores = o.choice("names", "dots", "underscores") == "underscores"
			t.heldout = o.bool("heldout")
			return t
		},
		data: func() content { return &BFCL{} },
	})
}

// Name implements Task.
func (t *bfclTask) Name() string { return "bfcl" }

// Levels implements Task.
func (t *bfclTask) Levels() (lo, hi int) { return 0, 0 }

// Problems implements Source. With heldout=true the whole file is the test split, as fits a benchmark that nothing is trained on.
func (t *bfclTask) Problems(split Split) ([]*Problem, error) {
	if t.heldout && (split == Train || split == Valid) {
		return nil, nil
	}
	bench, err := toolcall.OpenBench(t.path)
	if err != nil {
		return nil, fmt.Errorf("task bfcl: %w", err)
	}
	rows, err := bench.Questions(t.category)
	if err != nil {
		return nil, fmt.Errorf("task bfcl: %w", err)
	}
	var out []*Problem
	for _, q := range rows {
		p, err := t.problem(q)
		if err != nil {
			return nil, fmt.Errorf("task bfcl: %s: %w", q.ID, err)
		}
		if split == All || t.heldout || SplitOf(p, DefaultSplits) == split {
			out = append(out, p)
		}
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("task bfcl: category %s in %s has no rows", t.category, t.path)
	}
	return out, nil
}

func (t *bfclTask) problem(q *toolcall.Question) (*Problem, error) {
	data := &BFCL{Row: q.ID, Category: q.Category, Underscores: t.underscores}
	for _, m := range q.Messages {
		data.Messages = append(data.Messages, BFCLMessage(m))
	}
	var err error
	if data.Functions, err = toolcall.EncodeJSON(q.Functions); err != nil {
		return nil, err
	}
	if q.Answers != nil {
		if data.Answers, err = toolcall.EncodeJSON(q.Answers); err != nil {
			return nil, err
		}
	}
	if err := data.valid(); err != nil {
		return nil, err
	}
	answer, err := data.gold()
	if err != nil {
		return nil, err
	}
	return newProblem(t, 0, data, Natural, answer), nil
}

const noCall = "None of the functions can answer this."

// gold is an accepted answer as text, "" where there is none (live_relevance asks for any call at all).
func (b *BFCL) gold() (string, error) {
	q, err := b.question()
	if err != nil {
		return "", err
	}
	calls, err := q.Gold()
	switch {
	case err != nil:
		return "", err
	case len(calls) > 0:
		return toolcall.Python(calls), nil
	case strings.Contains(b.Category, "irrelevance"):
		return noCall, nil
	}
	return "", nil
}

// Question implements Task: what the user says, in one wording. System turns and functions are in the problem's System and Tools.
func (t *bfclTask) Question(p *Problem, _ Wording) string {
	data, err := dataOf[BFCL](t, p)
	if err != nil {
		return p.Question
	}
	var said []string
	for _, m := range data.Messages {
		if m.Role != "system" {
			said = append(said, m.Content)
		}
	}
	return strings.Join(said, "\n\n")
}

// readCalls reads the calls of a whole response, or else of what Final takes for its answer.
func readCalls(response string) ([]toolcall.Call, error) {
	calls, err := toolcall.Parse(response)
	if err != nil {
		if answer, marked := Final(response); marked {
			if calls, err := toolcall.Parse(answer); err == nil {
				return calls, nil
			}
		}
	}
	return calls, err
}

// Check implements Task with the leaderboard's verdict. Terms, where calls are judged: parsed, match (see toolcall.Match, against one of the
// accepted answers) and values (the share of its arguments that are right).
func (t *bfclTask) Check(p *Problem, answer string) Result {
	data, err := dataOf[BFCL](t, p)
	if err != nil {
		return failed(err)
	}
	q, err := data.question()
	if err != nil {
		return failed(err)
	}
	calls, syntax := readCalls(answer)
	if syntax != nil && q.Answers != nil {
		return unparsed(strings.TrimSpace(answer), "no calls: %v", syntax)
	}
	j, err := q.JudgeCalls(calls)
	if err != nil {
		return failed(err)
	}
	detail := j.ErrorType
	if j.Detail != "" {
		detail += ": " + j.Detail
	}
	text := toolcall.Python(calls)
	if syntax != nil {
		text = strings.TrimSpace(answer)
	}
	if q.Answers == nil {
		return judged(j.Valid, text, detail)
	}
	gold, err := q.Gold()
	if err != nil {
		return failed(err)
	}
	return judged(j.Valid, text, detail, matchTerms(toolcall.Match(gold, calls))...)
}

// matchTerms are the terms of calls that could be read.
func matchTerms(s toolcall.Score) []Term {
	values := 1.0
	if s.Values > 0 {
		values = float64(s.Right) / float64(s.Values)
	}
	return []Term{{"parsed", 1}, {"match", s.Graded}, {"values", values}}
}

// Expert implements Task: an accepted answer without steps. A corrupted one has a wrong value, lacks an argument or names another function.
func (t *bfclTask) Expert(p *Problem) (*Trace, error) {
	data, err := dataOf[BFCL](t, p)
	if err != nil {
		return nil, err
	}
	if err := data.valid(); err != nil {
		return nil, err
	}
	answer, err := data.gold()
	if err != nil {
		return nil, err
	}
	if answer == "" {
		return nil, fmt.Errorf("problem %s: category %s has no reference answers", p.ID, data.Category)
	}
	tr := &Trace{Problem: p, Answer: Words{answer, answer}}
	tr.corrupt = func(key rng.Key) ([]Step, Words, error) {
		wrong, err := t.corrupt(p, answer, &draw{key: key})
		return nil, Words{wrong, wrong}, err
	}
	return tr, nil
}

// corrupt tries damages in a random order until one is judged wrong.
func (t *bfclTask) corrupt(p *Problem, answer string, d *draw) (string, error) {
	calls, err := toolcall.Parse(answer)
	if err != nil { // nothing should be called
		return "[" + toolcall.Call{Name: "call", Args: &toolcall.Dict{}}.String() + "]", nil
	}
	at := d.intn(len(calls))
	c := calls[at]
	for _, kind := range d.perm(3) {
		damaged := toolcall.Call{Name: c.Name, Args: &toolcall.Dict{}}
		victim := -1
		if kind == 2 || c.Args.Len() == 0 {
			damaged.Name += "_x"
		} else {
			victim = d.intn(c.Args.Len())
		}
		for i, it := range c.Args.Items() {
			if i == victim && kind == 0 {
				continue
			}
			if i == victim {
				it.Value = damagedValue(it.Value)
			}
			_ = damaged.Args.Set(it.Key, it.Value) // a key already
		}
		changed := slices.Clone(calls)
		changed[at] = damaged
		if text := toolcall.Python(changed); t.Check(p, text).Verdict == Wrong {
			return text, nil
		}
	}
	return "", errors.New("every other answer that was tried is right, too")
}

// damagedValue is another value of the same type.
func damagedValue(v toolcall.Value) toolcall.Value {
	switch v := v.(type) {
	case bool:
		return !v
	case int64:
		return v + 1
	case float64:
		return v + 1
	case string:
		return v + "x"
	case toolcall.List:
		return append(slices.Clone(v), v...)
	}
	return "x"
}
