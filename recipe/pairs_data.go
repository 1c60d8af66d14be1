package recipe

import (
	"fmt"
	"os"
	"slices"

	"github.com/hone-lm/hone/data"
	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/internal/config"
	"github.com/hone-lm/hone/objective"
	"github.com/hone-lm/hone/reward"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/task"
)

// PairData names preferences to learn from.
type PairData struct {
	Path    string `yaml:"data" help:"JSONL or JSON file of preferences (prompt, chosen, rejected), or a task such as countdown?level=3: the expert's answer against a corrupted one"`
	Rows    int    `yaml:"rows" help:"rows used; 0 = all of a file"`
	Form    string `yaml:"form" help:"of a task's answers: short, verbose or planned"`
	TooLong string `yaml:"too_long" help:"answers that end behind the context: error or truncate"`
}

func defaultPairData() PairData {
	return PairData{Path: "countdown", Rows: 2000, Form: "short", TooLong: "error"}
}

// Validate implements config's range check.
func (d *PairData) Validate() error {
	if d.Rows < 0 {
		return &config.FieldError{Field: "rows", Msg: fmt.Sprintf("%d: want 0 (all of a file) or a positive count", d.Rows)}
	}
	return oneOf("too_long", d.TooLong, []string{"error", "truncate"})
}

// answerPair is the chosen and the rejected answer to one prompt.
type answerPair [2]*engine.Sequence

// Pairs reads preferences of a file, or makes a task's. Pairs that repeat evaluation text are treated as eval.contamination says.
func (b *Build) Pairs(d PairData) ([]answerPair, error) {
	if d.ofTask() {
		return b.taskPairs(d)
	}
	rows, err := data.ReadPairs(d.Path)
	if err != nil {
		return nil, err
	}
	if d.Rows > 0 && len(rows) > d.Rows {
		rows = rows[:d.Rows]
	}
	codec := b.codec()
	pairs := make([]answerPair, len(rows))
	for i := range rows {
		if pairs[i][0], err = b.answer(&rows[i].Chosen, codec, d.TooLong); err != nil {
			return nil, fmt.Errorf("chosen answer of %w", err)
		}
		if pairs[i][1], err = b.answer(&rows[i].Rejected, codec, d.TooLong); err != nil {
			return nil, fmt.Errorf("rejected answer of %w", err)
		}
	}
	return unrepeated(b, d.Path, pairs, func(p answerPair) []*engine.Sequence { return p[:] })
}

// ofTask tells a task from a file of its name.
func (d *PairData) ofTask() bool {
	if taskOf(d.Path) == "" {
		return false
	}
	_, err := os.Stat(d.Path)
	return err != nil
}

// Labelled reads answers with labels of a file, or both answers of a task's pairs; each has the channel "label".
func (b *Build) Labelled(d PairData) ([]*engine.Sequence, error) {
	var out []*engine.Sequence
	if d.ofTask() {
		pairs, err := b.taskPairs(d)
		for _, p := range pairs {
			out = append(out, labelled(p[0], true), labelled(p[1], false))
		}
		return out, err
	}
	rows, err := data.ReadLabelled(d.Path)
	if err != nil {
		return nil, err
	}
	if d.Rows > 0 && len(rows) > d.Rows {
		rows = rows[:d.Rows]
	}
	codec := b.codec()
	for i := range rows {
		s, err := b.answer(&rows[i].Row, codec, d.TooLong)
		if err != nil {
			return nil, err
		}
		out = append(out, labelled(s, rows[i].Desirable))
	}
	return unrepeated(b, d.Path, out, func(s *engine.Sequence) []*engine.Sequence { return []*engine.Sequence{s} })
}

func labelled(s *engine.Sequence, desirable bool) *engine.Sequence {
	c := s.SetChannel(objective.ChanLabel, nil)
	for t := range c {
		if desirable {
			c[t] = 1
		}
	}
	return s
}

// answer encodes a row whose last answer is looked at.
func (b *Build) answer(row *data.Row, codec data.Codec, tooLong string) (*engine.Sequence, error) {
	e, err := data.Encode(row, codec, data.TrainLast)
	if err != nil {
		return nil, err
	}
	s := &engine.Sequence{ID: engine.ItemID{Problem: e.Source}, Tokens: e.Tokens, Kind: make([]engine.Kind, len(e.Tokens)), Chan: engine.Channels{}}
	for t, w := range e.Weights {
		if w != 0 {
			s.Kind[t] = engine.KindDemo
		}
	}
	return s, b.fit(s, tooLong)
}

// fits tells whether the context holds a whole row of a task. A longer one is refused, or with too_long=drop left out and counted.
func (b *Build) fits(s *engine.Sequence, tooLong string) (bool, error) {
	switch {
	case b.Context == 0 || len(s.Tokens) <= b.Context:
		return true, nil
	case tooLong == "drop":
		b.Long++
		return false, nil
	}
	return false, b.tooLong(s, "choose shorter problems, raise context, or set too_long=drop")
}

func (b *Build) tooLong(s *engine.Sequence, instead string) error {
	return fmt.Errorf("%s: %d tokens, and the context is %d: %s", s.ID.Problem, len(s.Tokens), b.Context, instead)
}

// fit cuts an answer that ends behind the context, or refuses it: an answer is not split.
func (b *Build) fit(s *engine.Sequence, tooLong string) error {
	if b.Context == 0 || len(s.Tokens) <= b.Context {
		return nil
	}
	if tooLong != "truncate" {
		return b.tooLong(s, "shorten the row, raise context, or set too_long=truncate")
	}
	s.Tokens, s.Kind = s.Tokens[:b.Context], s.Kind[:b.Context]
	if s.Count(engine.KindDemo) == 0 {
		return fmt.Errorf("%s: too_long=truncate leaves nothing of the answer: the prompt fills the context of %d tokens; remove the row or raise context", s.ID.Problem, b.Context)
	}
	return nil
}

// taskPairs are problems of a task's training split: the expert's answer, and the same trace with a false step and a wrong answer.
func (b *Build) taskPairs(d PairData) ([]answerPair, error) {
	t, source, err := b.Problems(d.Path, task.Train)
	if err != nil {
		return nil, err
	}
	if d.Rows == 0 {
		return nil, fmt.Errorf("data=%s: rows=0 means all rows of a file; say how many problems of a task", d.Path)
	}
	wording := wordingOf(d.Path)
	demo := func(p *task.Problem, trace *task.Trace) (*engine.Sequence, error) {
		parts, err := trace.Render(task.Form(d.Form), wording)
		if err != nil {
			return nil, err
		}
		s, err := b.Format.Demo(p, task.Join(parts, wording))
		if err != nil {
			return nil, err
		}
		s.Chan = engine.Channels{}
		return s, b.fit(s, d.TooLong)
	}
	pairs := make([]answerPair, d.Rows)
	for i := range pairs {
		p, err := source.At(i)
		if err != nil {
			return nil, err
		}
		good, err := t.Expert(p)
		if err != nil {
			return nil, err
		}
		bad, err := good.Corrupted(engine.NewKey(b.Common.Seed, "rejected", p.Key))
		if err != nil {
			return nil, fmt.Errorf("rejected answer: %w", err)
		}
		if pairs[i][0], err = demo(p, good); err == nil {
			pairs[i][1], err = demo(p, bad)
		}
		if err != nil {
			return nil, err
		}
		pairs[i][1].ID.Sample = 1
	}
	return unrepeated(b, d.Path, pairs, func(p answerPair) []*engine.Sequence { return p[:] })
}

// unrepeated leaves out what repeats evaluation text, as eval.contamination says; an item goes with all its sequences.
func unrepeated[T any](b *Build, path string, items []T, of func(T) []*engine.Sequence) ([]T, error) {
	for b.Common.Eval.Contamination != "ignore" && len(b.Held) > 0 {
		var rows []*engine.Sequence
		var item []int // of each row
		for i, x := range items {
			for _, s := range of(x) {
				rows, item = append(rows, s), append(item, i)
			}
		}
		bad := map[int]bool{}
		for _, o := range task.Contamination(b.texts(rows), b.Held, 0) {
			if b.Common.Eval.Contamination == "error" {
				return nil, fmt.Errorf("row %s repeats evaluation text %q: remove it, or set eval.contamination=drop", rows[o.Train].ID.Problem, o.Text)
			}
			bad[item[o.Train]] = true
		}
		if len(bad) == 0 {
			break // each round names the first row that repeats a text
		}
		b.Dropped += len(bad)
		var kept []T
		for i, x := range items {
			if !bad[i] {
				kept = append(kept, x)
			}
		}
		items = kept
	}
	if len(items) == 0 {
		return nil, fmt.Errorf("%s: every row repeats evaluation text: evaluate on other problems, or set eval.contamination=ignore", path)
	}
	return items, nil
}

// pairGroups are the pairs of a step, in the order of the epoch: a group a pair, the chosen answer first. Units are numbers within the step,
// so a pair that a batch over the end of an epoch meets twice is two units. The sequences are copies that share their channels: what is
// written there once (log-probs of a frozen model) is there in the next epoch.
func pairGroups(pairs []answerPair, seed uint64, step, batch int) []*rollout.Group {
	order := data.Shuffle{Key: engine.NewKey(seed, "rows"), N: len(pairs)}
	var groups []*rollout.Group
	for k, i := range order.Rows(step*batch, batch) {
		g := &rollout.Group{Key: pairs[i][0].ID.Problem}
		for _, s := range pairs[i] {
			c := *s
			c.Unit = int64(k + 1)
			g.Episodes = append(g.Episodes, &reward.Episode{Segs: []*engine.Sequence{&c}})
		}
		groups = append(groups, g)
	}
	return groups
}

// chosenRows are the chosen ones of a stream's rows, as DemoRows gives them for pairGroups.
func chosenRows(rows []engine.Row) []engine.Row {
	var out []engine.Row
	for pair := range slices.Chunk(rows, 2) {
		out = append(out, pair[0])
	}
	return out
}
