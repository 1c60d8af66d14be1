package recipe

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/engine/local"
	"github.com/hone-lm/hone/internal/config"
	"github.com/hone-lm/hone/reward"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/task"
	"github.com/hone-lm/hone/token"
	"github.com/hone-lm/hone/train"
)

// Demonstrations with the log-probs of the policy that wrote them, in the channel logp_old: what off-policy corrections of SFT divide by.

// TeacherDemos is the method of a build node: a teacher answers problems, and answers that the task's check calls right become demonstrations
// with the log-probs that they were sampled with. A share of the rows may come from the task's expert instead, in another form than the
// teacher's; those have no log-probs yet (see ScoredRows).
type TeacherDemos struct {
	Teacher     string  `yaml:"teacher" help:"another model that answers, with the same tokenizer (see model); empty = the model as this stage finds it"`
	Task        string  `yaml:"task" help:"problems and their check, such as countdown?level=3"`
	Rows        int     `yaml:"rows" help:"demonstrations wanted; the stage ends with fewer when its steps are used up"`
	Problems    int     `yaml:"problems" help:"problems a step"`
	Samples     int     `yaml:"samples" help:"answers to a problem"`
	Keep        string  `yaml:"keep" help:"correct answers that end by themselves, or all"`
	MaxTokens   int     `yaml:"max_tokens" help:"longest answer"`
	Temperature float64 `yaml:"temperature"`
	Foreign     float64 `yaml:"foreign" help:"share of the rows that the task's expert writes, on problems of their own"`
	ForeignForm string  `yaml:"foreign_form" help:"form of the expert's: short, verbose, padded or planned"`

	train.Defaults `yaml:"-"`
	other          secondModel
	expert         func(p *task.Problem) (*engine.Sequence, error)
	state          teacherState
}

// teacherState counts the rows that are there.
type teacherState struct{ Sampled, Foreign int }

// State is how many rows are still wanted.
func (m *TeacherDemos) State() any { return &m.state }

// Need asks for sampling.
func (m *TeacherDemos) Need() train.Need {
	return train.Need{Caps: []engine.Capability{engine.CapSample, engine.CapTemperature}}
}

// Extent implements train.Sized.
func (m *TeacherDemos) Extent() train.Extent { return train.Extent{Rows: m.Problems * m.Samples} }

// Identity implements train.Identified.
func (m *TeacherDemos) Identity() (string, error) { return m.other.identity() }

// Prepare opens the teacher, if it is another model.
func (m *TeacherDemos) Prepare(ctx context.Context, s *train.Step) error {
	return m.other.open(ctx, s.Format.Tok)
}

func (m *TeacherDemos) foreignRows() int { return int(m.Foreign*float64(m.Rows) + 0.5) }

// Collect lets the teacher answer, and the expert demonstrate, as long as rows are wanted of them.
func (m *TeacherDemos) Collect(ctx context.Context, s *train.Step) ([]*rollout.Group, error) {
	var groups []*rollout.Group
	if m.state.Sampled < m.Rows-m.foreignRows() {
		problems, err := s.Problems(m.Problems)
		if err != nil {
			return nil, err
		}
		env := *s.Env
		if m.other.engine != nil {
			env.Engine = m.other.engine
		}
		if groups, err = (rollout.Sample{}).Solve(ctx, &env, problems, m.Samples); err != nil {
			return nil, err
		}
	}
	want := min(m.Problems, m.foreignRows()-m.state.Foreign)
	problems, err := s.Problems(max(0, want))
	if err != nil {
		return nil, err
	}
	for _, p := range problems {
		row, err := m.expert(p)
		if err != nil {
			return nil, err
		}
		groups = append(groups, &rollout.Group{Key: p.ID, Episodes: []*reward.Episode{{Problem: p, Segs: []*engine.Sequence{row}}}})
	}
	return groups, nil
}

// Streams implements train.Method: nothing is trained here.
func (*TeacherDemos) Streams(context.Context, *train.Step, []*rollout.Group) ([]engine.Stream, error) {
	return nil, nil
}

// keep is the node's Keep.
func (m *TeacherDemos) keep(s *train.Step, groups []*rollout.Group) ([]*engine.Sequence, error) {
	var out []*engine.Sequence
	for _, e := range rollout.Episodes(groups) {
		seq := e.Segs[0]
		switch {
		case seq.Count(engine.KindDemo) > 0:
			out = append(out, seq)
			m.state.Foreign++
		case m.state.Sampled < m.Rows-m.foreignRows() && (m.Keep == "all" || rollout.Ended(seq) && e.Grade.Correct() == 1):
			demo := rollout.AsDemo(seq)
			demo.SetChannel(engine.ChanOld, slices.Clone(seq.Channel(engine.ChanOld)))
			out = append(out, demo)
			m.state.Sampled++
		}
	}
	return out, nil
}

// Validate implements config's range check.
func (m *TeacherDemos) Validate() error {
	for _, c := range []struct {
		field string
		value int
	}{{"rows", m.Rows}, {"problems", m.Problems}, {"samples", m.Samples}, {"max_tokens", m.MaxTokens}} {
		if c.value < 1 {
			return &config.FieldError{Field: c.field, Msg: fmt.Sprintf("%d: want at least one", c.value)}
		}
	}
	if !(m.Foreign >= 0 && m.Foreign <= 1) {
		return &config.FieldError{Field: "foreign", Msg: fmt.Sprintf("%g: want a share in [0, 1]", m.Foreign)}
	}
	if !(m.Temperature > 0) {
		return &config.FieldError{Field: "temperature", Msg: fmt.Sprintf("%g: want a positive number", m.Temperature)}
	}
	return oneOf("keep", m.Keep, []string{"correct", "all"})
}

// node makes the stage.
func (m *TeacherDemos) node(b *Build, name string, steps int) (train.Node, error) {
	t, source, err := b.Problems(m.Task, task.Train)
	if err != nil {
		return train.Node{}, err
	}
	m.other = secondModel{ref: m.Teacher, common: *b.Common}
	if m.expert, err = b.Expert(m.Task, task.Form(m.ForeignForm)); err == nil && m.Foreign > 0 {
		var first *task.Problem // an expert that cannot write this form says so before any work
		if first, err = source.At(0); err == nil {
			_, err = m.expert(first)
		}
	}
	params := engine.Params{Temperature: float32(m.Temperature), MaxTokens: m.MaxTokens}
	return train.Node{Name: name, Kind: train.Build, Method: m, Steps: steps, Source: source, Grader: t, Params: params, Keep: m.keep}, err
}

// ScoredRows is the method of a build node that keeps the rows of a data file, or of an earlier build node, with log-probs of a model.
type ScoredRows struct {
	Scorer string     `yaml:"scorer" help:"another model that scores, with the same tokenizer; empty = the model as this stage finds it"`
	Built  string     `yaml:"built" help:"build stage whose rows are scored; empty = data"`
	Data   DataConfig `yaml:",inline"`

	train.Defaults `yaml:"-"`
	other          secondModel
	rows           []*engine.Sequence
}

// scoredBatch is how many rows a step scores.
const scoredBatch = 64

// Extent implements train.Sized.
func (m *ScoredRows) Extent() train.Extent { return train.Extent{Rows: scoredBatch} }

// Identity implements train.Identified.
func (m *ScoredRows) Identity() (string, error) { return m.other.identity() }

// Prepare reads what is scored.
func (m *ScoredRows) Prepare(ctx context.Context, s *train.Step) error {
	err := m.other.open(ctx, s.Format.Tok)
	if err == nil && m.Built != "" {
		m.rows, err = s.Rows(m.Built)
	}
	return err
}

// Collect scores the next rows.
func (m *ScoredRows) Collect(ctx context.Context, s *train.Step) ([]*rollout.Group, error) {
	from := min(s.Index*scoredBatch, len(m.rows))
	rows := m.rows[from:min(from+scoredBatch, len(m.rows))]
	if len(rows) == 0 {
		return nil, nil
	}
	scorer := s.Engine
	if m.other.engine != nil {
		scorer = m.other.engine
	}
	scores, err := scorer.Score(ctx, rows, engine.Want{})
	if err != nil {
		return nil, err
	}
	var groups []*rollout.Group
	for i, r := range rows {
		row := *r
		row.Chan = maps.Clone(r.Chan)
		row.SetChannel(engine.ChanOld, scores[i].LogProb)
		groups = append(groups, &rollout.Group{Key: r.ID.Problem, Episodes: []*reward.Episode{{Segs: []*engine.Sequence{&row}}}})
	}
	return groups, nil
}

// Streams implements train.Method: nothing is trained here.
func (*ScoredRows) Streams(context.Context, *train.Step, []*rollout.Group) ([]engine.Stream, error) {
	return nil, nil
}

// node makes the stage for at most so many rows of a build node; of a file it scores them all.
func (m *ScoredRows) node(b *Build, name string, most int) (train.Node, error) {
	m.other = secondModel{ref: m.Scorer, common: *b.Common}
	if m.Built == "" {
		rows, err := b.Rows(m.Data)
		if err != nil {
			return train.Node{}, err
		}
		m.rows, most = rows, len(rows)
	}
	keep := func(s *train.Step, groups []*rollout.Group) ([]*engine.Sequence, error) {
		var out []*engine.Sequence
		for _, e := range rollout.Episodes(groups) {
			out = append(out, e.Segs[0])
		}
		return out, nil
	}
	return train.Node{Name: name, Kind: train.Build, Method: m, Steps: (most + scoredBatch - 1) / scoredBatch, Keep: keep}, nil
}

// secondModel is a model beside the one that is trained: it samples and scores. It is no part of the run's state and of its memory plan.
type secondModel struct {
	ref    string // "" = none
	common train.Common
	engine *local.Engine
}

func (o *secondModel) load() (*Loaded, *train.Common, error) {
	c := train.DefaultCommon()
	c.Model, c.Seed, c.MicroTokens, c.Slots, c.Context, c.Cache = o.ref, o.common.Seed, o.common.MicroTokens, o.common.Slots, o.common.Context, o.common.Cache
	l, err := LoadModel(&c)
	return l, &c, err
}

// identity is what the model is, for the cache.
func (o *secondModel) identity() (string, error) {
	if o.ref == "" {
		return "", nil
	}
	l, _, err := o.load()
	if err != nil {
		return "", err
	}
	return l.Identity, nil
}

// open loads the model once and wants its token ids to mean what they mean to the trained one.
func (o *secondModel) open(ctx context.Context, tok token.Tokenizer) error {
	if o.ref == "" || o.engine != nil {
		return nil
	}
	l, c, err := o.load()
	if err != nil {
		return err
	}
	if err := sameTokens(tok, l.Format.Tok); err != nil {
		return fmt.Errorf("model %s has another tokenizer than the trained model: %w: its log-probs are of other tokens; choose a model of the same family", o.ref, err)
	}
	o.engine, err = l.Engine(ctx, c)
	return err
}

// sameTokens returns the first difference between two vocabularies.
func sameTokens(a, b token.Tokenizer) error {
	if a.VocabSize() != b.VocabSize() {
		return fmt.Errorf("%d and %d ids", a.VocabSize(), b.VocabSize())
	}
	for id := range int32(a.VocabSize()) {
		if a.Token(id) != b.Token(id) {
			return fmt.Errorf("id %d is %q and %q", id, a.Token(id), b.Token(id))
		}
	}
	if a.EOS() != b.EOS() || a.BOS() != b.BOS() {
		return fmt.Errorf("their texts begin or end with other tokens")
	}
	return nil
}
