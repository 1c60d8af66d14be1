package recipe

import (
	"encoding/json"
	"fmt"
	"iter"
	"os"
	"slices"
	"strings"

	"github.com/hone-lm/hone/chat"
	"github.com/hone-lm/hone/data"
	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/eval"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/task"
	"github.com/hone-lm/hone/token"
	"github.com/hone-lm/hone/train"
)

// Build is what a plan may use while it is being made: the prompt format and the tokenizer, but no model.
type Build struct {
	Format  *rollout.Format
	Common  *train.Common
	Context int      // longest sequence in tokens
	Held    []string // texts of the evaluation: training rows that repeat them are left out
	Dropped int      // how many were
	Long    int      // rows left out because the context does not hold them
	heldIDs map[string]bool
}

// Problems opens a task as a source of one split.
func (b *Build) Problems(ref string, split task.Split) (task.Task, train.Source, error) {
	r, err := task.ParseRef(ref)
	if err != nil {
		return nil, nil, err
	}
	t, err := task.Open(r)
	if err != nil {
		return nil, nil, err
	}
	switch t := t.(type) {
	case task.Generator:
		return t, task.NewStream(t, b.Common.Seed, split, r.Level), nil
	case task.Source:
		list, err := t.Problems(split)
		if err != nil {
			return nil, nil, err
		}
		if len(list) == 0 {
			return nil, nil, fmt.Errorf("task %s has no problems in split %q", ref, split)
		}
		if list, err = b.unheld(ref, list); err != nil {
			return nil, nil, err
		}
		return t, &shuffled{list: list, key: engine.NewKey(b.Common.Seed, "problems")}, nil
	}
	return nil, nil, fmt.Errorf("task %s neither generates problems nor reads them", ref)
}

// shuffled goes through a list in a new random order every epoch.
type shuffled struct {
	list  []*task.Problem
	key   engine.Key
	epoch int
	order []int
}

// At implements train.Source.
func (s *shuffled) At(i int) (*task.Problem, error) {
	if epoch := i / len(s.list); s.order == nil || epoch != s.epoch {
		s.epoch, s.order = epoch, data.Order(s.key, epoch, len(s.list))
	}
	return s.list[s.order[i%len(s.list)]], nil
}

// Suites returns the held-out problems of tasks separated by commas. A suite has its task's short name, or the whole reference when two
// share it (two levels of one task). None of them without problems: that is an error before any work.
func (b *Build) Suites(refs string) ([]*eval.Suite, error) {
	list := strings.Split(refs, ",")
	named := map[string]int{}
	for i, ref := range list {
		list[i] = strings.TrimSpace(ref)
		named[suiteName(list[i])]++
	}
	var out []*eval.Suite
	files := 0
	for _, ref := range list {
		s, file, err := b.suite(ref)
		if err != nil {
			return nil, err
		}
		if len(s.Problems) == 0 {
			return nil, fmt.Errorf("task %s has no problems in its %s split: choose another file, or eval.split=all", ref, task.Test)
		}
		if named[s.Name] > 1 {
			s.Name = ref
		}
		if slices.ContainsFunc(out, func(o *eval.Suite) bool { return o.Name == s.Name }) {
			return nil, fmt.Errorf("task %s is to be evaluated twice: name it once", ref)
		}
		if file {
			files++
		}
		out = append(out, s)
	}
	if b.Common.Eval.Split == "all" && files == 0 {
		return nil, fmt.Errorf("split=all: %s makes its problems, so training may meet any that are not in its test split: use split=test, or evaluate a task that reads a file", refs)
	}
	return out, nil
}

func suiteName(ref string) string {
	name, _, _ := strings.Cut(ref, "?")
	return strings.TrimSpace(name)
}

// suite opens the held-out problems of one task, the same for every seed, and tells whether they are read from a file. They are the test
// or the validation split; with split=all they are all problems of a file, while a task that makes its problems keeps to its test split.
func (b *Build) suite(ref string) (s *eval.Suite, file bool, err error) {
	r, err := task.ParseRef(ref)
	if err != nil {
		return nil, false, err
	}
	t, err := task.Open(r)
	if err != nil {
		return nil, false, err
	}
	e := &b.Common.Eval
	s = &eval.Suite{Name: r.Name, Grader: rollout.TaskGrader{Task: t}, Seed: e.Seed, Params: engine.Params{Greedy: true, MaxTokens: e.MaxTokens}, Budgets: e.Budgets}
	split := task.Test
	if e.Split == "valid" {
		split = task.Valid
	}
	switch t := t.(type) {
	case task.Generator:
		s.Problems, err = task.NewStream(t, e.Seed, split, r.Level).Distinct(e.Problems)
	case task.Source:
		if e.Split == "all" {
			split = task.All
		}
		if s.Problems, err = t.Problems(split); len(s.Problems) > e.Problems {
			s.Problems = s.Problems[:e.Problems]
		}
		return s, true, err
	default:
		err = fmt.Errorf("task %s neither generates problems nor reads them", ref)
	}
	return s, false, err
}

// hold notes the problems of suites, so that nothing trains on them.
func (b *Build) hold(suites []*eval.Suite) {
	b.heldIDs = map[string]bool{}
	for _, s := range suites {
		for _, p := range s.Problems {
			b.Held = append(b.Held, p.Question)
			b.heldIDs[p.ID] = true
		}
	}
}

// unheld leaves out the problems that are evaluated, as eval.contamination says. Splits are disjoint: only split=all gives it work.
func (b *Build) unheld(ref string, list []*task.Problem) ([]*task.Problem, error) {
	kept := slices.DeleteFunc(slices.Clone(list), func(p *task.Problem) bool { return b.heldIDs[p.ID] })
	dropped := len(list) - len(kept)
	switch {
	case dropped == 0 || b.Common.Eval.Contamination == "ignore":
		return list, nil
	case b.Common.Eval.Contamination == "error" || len(kept) == 0:
		return nil, fmt.Errorf("task %s: %d of its %d training problems are evaluated (eval.split=all): use eval.split=test, or evaluate another file", ref, dropped, len(list))
	}
	b.Dropped += dropped
	return kept, nil
}

// Demos turns problems of a task's training split into demonstrations: the expert's trace in a form.
func (b *Build) Demos(ref string, form task.Form, n int) ([]*engine.Sequence, error) {
	if n < 1 {
		return nil, fmt.Errorf("data=%s: rows=%d, but a task has as many rows as one asks for: set rows to at least 1", ref, n)
	}
	example, err := b.examples(ref, form)
	if err != nil {
		return nil, err
	}
	out := make([]*engine.Sequence, n)
	for i := range out {
		if out[i], err = example(i); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// examples returns a function that gives demonstration i of a task's training split.
func (b *Build) examples(ref string, form task.Form) (func(i int) (*engine.Sequence, error), error) {
	t, source, err := b.Problems(ref, task.Train)
	if err != nil {
		return nil, err
	}
	wording := wordingOf(ref)
	return func(i int) (*engine.Sequence, error) {
		p, err := source.At(i)
		if err != nil {
			return nil, err
		}
		trace, err := t.Expert(p)
		if err != nil {
			return nil, err
		}
		parts, err := trace.Render(form, wording)
		if err != nil {
			return nil, err
		}
		return b.Format.Demo(p, task.Join(parts, wording))
	}, nil
}

// wordingOf is the wording that a task's reference asks for.
func wordingOf(ref string) task.Wording {
	if r, err := task.ParseRef(ref); err == nil && r.Options["wording"] == string(task.Natural) {
		return task.Natural
	}
	return task.Compact
}

// Rows reads and encodes a data file; a task's name in place of a file gives its demonstrations.
func (b *Build) Rows(d DataConfig) ([]*engine.Sequence, error) {
	rows, err := b.read(d)
	if err != nil || b.Common.Eval.Contamination == "ignore" || len(b.Held) == 0 {
		return rows, err
	}
	kept := rows
	for { // each round names the first row that repeats a text
		bad := map[int]bool{}
		for _, o := range task.Contamination(b.texts(kept), b.Held, 0) {
			if b.Common.Eval.Contamination == "error" {
				return nil, fmt.Errorf("row %s repeats evaluation text %q: remove it, or set eval.contamination=drop", kept[o.Train].ID.Problem, o.Text)
			}
			bad[o.Train] = true
		}
		if len(bad) == 0 {
			break
		}
		b.Dropped += len(bad)
		var clean []*engine.Sequence
		for i, s := range kept {
			if !bad[i] {
				clean = append(clean, s)
			}
		}
		kept = clean
	}
	if len(kept) == 0 {
		return nil, fmt.Errorf("%s: every row repeats evaluation text: evaluate on other problems, or set eval.contamination=ignore", d.Path)
	}
	return kept, nil
}

// texts decodes rows one after the other.
func (b *Build) texts(rows []*engine.Sequence) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, s := range rows {
			if !yield(b.Format.Tok.Decode(s.Tokens, true)) {
				return
			}
		}
	}
}

// read gets the rows of a file or a task's demonstrations.
func (b *Build) read(d DataConfig) ([]*engine.Sequence, error) {
	if r, err := task.ParseRef(d.Path); err == nil && task.About(r.Name) != "" {
		if _, err := os.Stat(d.Path); err != nil {
			rows, err := b.Demos(d.Path, task.Form(d.Form), d.Rows)
			for i := 0; err == nil && i < len(rows); i++ {
				err = b.fit(rows[i], d.TooLong)
			}
			return rows, err
		}
	}
	rows, err := data.Read(d.Path, data.Options{Prompt: d.Prompt, Completion: d.Completion})
	if err != nil {
		return nil, err
	}
	if d.Rows > 0 && len(rows) > d.Rows {
		rows = rows[:d.Rows]
	}
	examples, _, err := data.EncodeAll(rows, b.codec(), data.TrainOn(d.TrainOn), b.Context, data.TooLong(d.TooLong))
	if err != nil {
		return nil, err
	}
	out := make([]*engine.Sequence, len(examples))
	for i, e := range examples {
		s := &engine.Sequence{ID: engine.ItemID{Problem: e.Source}, Tokens: e.Tokens, Kind: make([]engine.Kind, len(e.Tokens))}
		for t, w := range e.Weights {
			if w != 0 {
				s.Kind[t] = engine.KindDemo
			}
		}
		out[i] = s
	}
	return out, nil
}

// codec joins rows to the tokenizer and the chat template.
func (b *Build) codec() data.Codec {
	tok, template := b.Format.Tok, b.Format.Template
	c := data.Codec{End: tok.EndIDs(), Encode: func(before []int32, text string) ([]int32, error) {
		return token.Continue(tok, before, text, token.EncodeOptions{}), nil
	}}
	if begin := tok.Encode("", token.EncodeOptions{AddSpecial: true}); len(begin) > 0 && begin[0] == tok.BOS() {
		c.Begin = begin[:1]
	}
	if template == nil {
		return c
	}
	c.Chat = func(messages []data.Message, tools json.RawMessage, on data.TrainOn) ([]int32, []float32, error) {
		var turns []chat.Message
		if b.Format.System != "" && (len(messages) == 0 || messages[0].Role != "system") {
			turns = append(turns, chat.Message{Role: "system", Content: b.Format.System})
		}
		for _, m := range messages {
			turn := chat.Message{Role: m.Role, Content: m.Content}
			if m.Raw != nil {
				if err := json.Unmarshal(m.Raw, &turn); err != nil {
					return nil, nil, err
				}
			}
			turns = append(turns, turn)
		}
		got, err := chat.TrainTokens(tok, template, turns, tools, string(on))
		return got.IDs, got.Weights, err
	}
	return c
}

// DataConfig names rows to learn from.
type DataConfig struct {
	Path       string `yaml:"data" help:"JSONL or JSON file, or a task such as countdown?level=3 whose expert demonstrates"`
	Prompt     string `yaml:"prompt" help:"column with the question"`
	Completion string `yaml:"completion" help:"column with the answer"`
	Rows       int    `yaml:"rows" help:"rows used; 0 = all of a file"`
	Form       string `yaml:"form" help:"of a task's demonstrations: short, verbose, padded or planned"`
	TrainOn    string `yaml:"train_on" help:"answers, last or all"`
	TooLong    string `yaml:"too_long" help:"rows longer than the context: error, truncate or split; of e2c and itool: error or drop"`
}
