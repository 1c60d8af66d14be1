package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/hone-lm/hone/eval"
	"github.com/hone-lm/hone/internal/config"
	"github.com/hone-lm/hone/recipe"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/run"
	"github.com/hone-lm/hone/run/progress"
	"github.com/hone-lm/hone/train"
)

type evalCmd struct {
	Settings []string `arg:"" optional:"" name:"key=value" help:"What to measure: model, task, problems and the others below."`
	JSON     bool     `name:"json" help:"End in one JSON object on standard output."`
}

func (evalCmd) Help() string {
	var b strings.Builder
	b.WriteString(`Measures a model on held-out problems: greedy accuracy with a 95 % interval, pass@k with samples=k, accuracy of answers that are cut
(budgets), and of answers that many samples are spent on (searches). A run's model brings the run's task, system turn and suffix along.

  hone eval model=runs/grpo-7f3a
  hone eval model=SmolLM2-135M-Instruct.Q4_1.gguf task=gsm8k?path=test.jsonl problems=200 max_tokens=256
  hone eval model=runs/e2c-90aa searches=[vote:8,plan_cluster:8/3,plan_judge:8] budgets=[16,32]
  hone eval model=runs/grpo-7f3a@100 task=countdown?level=4,svamp?path=SVAMP.json split=all samples=8 --json

Settings and their defaults:

`)
	for _, k := range config.Keys(defaultEval()) {
		fmt.Fprintf(&b, "  %-12s %-10s %s\n", k.Path, k.Default, k.Help)
	}
	return b.String()
}

// evalSettings are what hone eval takes.
type evalSettings struct {
	Model             string   `yaml:"model" help:"nano, a Hugging Face folder, a .gguf file, or runs/ID[@step or @node@step]"`
	Adapter           string   `yaml:"adapter" help:"PEFT adapter folder"`
	Quantised         bool     `yaml:"keep_quantised" help:"keep the quantised weights of a .gguf file as they are: less memory, faster, the same numbers"`
	Task              string   `yaml:"task" help:"tasks, separated by commas; empty = the run's"`
	Split             string   `yaml:"split" help:"test, valid (for tuning), or all: every problem of a task that reads a file which training never reads"`
	Problems          int      `yaml:"problems" help:"held-out problems of each task"`
	MaxTokens         int      `yaml:"max_tokens" help:"longest answer"`
	Budgets           []int    `yaml:"budgets" help:"numbers of tokens, such as [32, 64]: accuracy if answers are cut there, from the same samples"`
	Searches          []string `yaml:"searches" help:"[vote:8, plan_cluster:8/3]: answers picked from many samples; vote, plan_vote, plan_cluster, plan_judge, plan_random"`
	SearchTemperature float64  `yaml:"search_temperature" help:"of the samples that searches pick from"`
	Samples           int      `yaml:"samples" help:"answers at temperature 1 to each problem, for pass@k; 0 = off"`
	Seed              uint64   `yaml:"seed" help:"of the held-out problems"`
	System            string   `yaml:"system" help:"system turn"`
	Suffix            string   `yaml:"suffix" help:"text put after every question"`
	Context           int      `yaml:"context" help:"longest sequence; 0 = the model's"`
	Slots             int      `yaml:"slots" help:"sequences sampled together"`
	Precision         string   `yaml:"precision" help:"f32 or bf16"`
}

func defaultEval() *evalSettings {
	c := train.DefaultCommon()
	return &evalSettings{Model: c.Model, Split: c.Eval.Split, Problems: c.Eval.Problems, MaxTokens: c.Eval.MaxTokens, SearchTemperature: c.Eval.SearchTemperature, Seed: c.Eval.Seed, Slots: c.Slots, Precision: c.Precision}
}

// Validate implements config's range check.
func (s *evalSettings) Validate() error {
	switch {
	case s.Problems < 1:
		return config.Errorf("problems", "must be at least 1, got %d", s.Problems)
	case s.MaxTokens < 1:
		return config.Errorf("max_tokens", "must be at least 1, got %d", s.MaxTokens)
	case s.Samples < 0 || s.Samples == 1:
		return config.Errorf("samples", "must be 0 (off) or at least 2, got %d", s.Samples)
	case s.Slots < 1:
		return config.Errorf("slots", "must be at least 1, got %d", s.Slots)
	case s.Context < 0:
		return config.Errorf("context", "must be 0 (the model's) or a number of tokens, got %d", s.Context)
	}
	if !(s.SearchTemperature > 0) {
		return config.Errorf("search_temperature", "must be above 0, got %g", s.SearchTemperature)
	}
	if _, err := eval.ParseSearches(s.Searches, 1); err != nil {
		return config.Errorf("searches", "%v", err)
	}
	if err := eval.CheckBudgets(s.Budgets, s.MaxTokens); err != nil {
		return config.Errorf("budgets", "%v", err)
	}
	if err := config.OneOf("precision", s.Precision, "f32", "bf16"); err != nil {
		return err
	}
	return config.OneOf("split", s.Split, "test", "valid", "all")
}

// common returns the settings in the form that models are loaded by.
func (s *evalSettings) common() *train.Common {
	c := train.DefaultCommon()
	c.Model, c.Adapter, c.System, c.Suffix, c.Context, c.Slots, c.Precision = s.Model, s.Adapter, s.System, s.Suffix, s.Context, s.Slots, s.Precision
	c.Eval.Split, c.Eval.Problems, c.Eval.MaxTokens, c.Eval.Budgets, c.Eval.Seed = s.Split, s.Problems, s.MaxTokens, s.Budgets, s.Seed
	c.Quantised = s.Quantised
	return &c
}

// evaluated is what "hone eval --json" ends in.
type evaluated struct {
	Run     string           `json:"run"`
	Seconds float64          `json:"seconds"`
	Suites  []evaluatedSuite `json:"suites"`
}

type evaluatedSuite struct {
	Name     string       `json:"name"`
	Accuracy run.Float    `json:"accuracy"`
	Low      run.Float    `json:"low"`
	High     run.Float    `json:"high"`
	N        int          `json:"n"`
	Length   run.Float    `json:"length"`             // sampled tokens an answer
	Ungraded int          `json:"ungraded,omitempty"` // grading failed or timed out: counted as not correct
	AtBudget []budgetInfo `json:"at_budget,omitempty"`
	Searches []searchInfo `json:"searches,omitempty"`
	PassAt   *passAtInfo  `json:"pass_at,omitempty"`
}

// searchInfo is the accuracy of answers that were picked from many samples.
type searchInfo struct {
	Name     string    `json:"name"`
	Accuracy run.Float `json:"accuracy"`
	Low      run.Float `json:"low"`
	High     run.Float `json:"high"`
	Length   run.Float `json:"length"` // tokens sampled for an answer, all of them
}

// budgetInfo is the accuracy of answers that are cut at so many tokens.
type budgetInfo struct {
	Tokens   int       `json:"tokens"`
	Accuracy run.Float `json:"accuracy"`
	Low      run.Float `json:"low"`
	High     run.Float `json:"high"`
}

type passAtInfo struct {
	K    int       `json:"k"`
	Mean run.Float `json:"mean"`
	Low  run.Float `json:"low"`
	High run.Float `json:"high"`
}

func (c *evalCmd) Run(a *app) error {
	start := time.Now()
	s, err := loadEval(c.Settings)
	if err != nil {
		return badCall{err}
	}
	common := s.common()
	loaded, err := recipe.LoadModel(common)
	if err != nil {
		return err
	}
	e, err := loaded.Engine(a.ctx, common)
	if err != nil {
		return err
	}
	defer e.Close()
	if note := recipe.PrecisionNote(common, e); note != "" {
		fmt.Fprintln(a.errOut, note)
	}
	b := &recipe.Build{Format: loaded.Format, Common: common, Context: e.Info().Context}
	out := evaluated{Run: s.Model, Suites: []evaluatedSuite{}}
	suites, err := b.Suites(s.Task) // all of them before any work
	if err != nil {
		return badCall{fmt.Errorf("task: %w", err)}
	}
	for _, suite := range suites {
		fmt.Fprintf(a.errOut, "%s on %s: %d problems\n", s.Model, suite.Name, len(suite.Problems))
		one, err := measure(a, suite, rollout.Env{Engine: e, Format: loaded.Format}, s)
		if err != nil {
			return err
		}
		out.Suites = append(out.Suites, *one)
	}
	out.Seconds = time.Since(start).Seconds()
	if c.JSON {
		return a.printJSON(out)
	}
	t := newTable(a.out)
	t.row("suite", "accuracy", "", "n", "tokens", "")
	for _, r := range out.Suites {
		pass := ""
		if p := r.PassAt; p != nil {
			pass = fmt.Sprintf("pass@%d %.1f %% [%.1f, %.1f]", p.K, 100*p.Mean, 100*p.Low, 100*p.High)
		}
		if r.Ungraded > 0 {
			pass += fmt.Sprintf("  %d not graded", r.Ungraded)
		}
		t.row(r.Name, percent(r.Accuracy), fmt.Sprintf("[%.1f, %.1f]", 100*r.Low, 100*r.High), fmt.Sprint(r.N), fmt.Sprintf("%.1f", r.Length), pass)
		for _, found := range r.Searches {
			t.row("  "+found.Name, percent(found.Accuracy), fmt.Sprintf("[%.1f, %.1f]", 100*found.Low, 100*found.High), fmt.Sprint(r.N), fmt.Sprintf("%.1f", found.Length), "")
		}
		for _, b := range r.AtBudget {
			t.row("", percent(b.Accuracy), fmt.Sprintf("[%.1f, %.1f]", 100*b.Low, 100*b.High), fmt.Sprint(r.N), fmt.Sprintf("at %d", b.Tokens), "")
		}
	}
	t.flush()
	fmt.Fprintf(a.out, "%s   next: hone chat model=%s\n", wall(out.Seconds), s.Model)
	return nil
}

// measure answers a suite greedily, and again with samples for pass@k.
func measure(a *app, suite *eval.Suite, env rollout.Env, s *evalSettings) (*evaluatedSuite, error) {
	display := progress.New(a.errOut)
	defer display.Close()
	answer := func(s eval.Suite, name string) (*eval.Result, error) {
		bar := display.Aside(name, len(s.Problems))
		defer bar.Gone()
		s.Told = func(done int) { bar.Set(done) }
		return s.Run(a.ctx, env)
	}
	r, err := answer(*suite, suite.Name)
	if err != nil {
		return nil, err
	}
	acc := r.Accuracy
	out := &evaluatedSuite{Name: suite.Name, Accuracy: run.Float(acc.Mean), Low: run.Float(acc.Low), High: run.Float(acc.High), N: acc.N, Length: run.Float(r.Length), Ungraded: r.Ungraded}
	for _, b := range r.AtBudget {
		out.AtBudget = append(out.AtBudget, budgetInfo{b.Tokens, run.Float(b.Accuracy.Mean), run.Float(b.Accuracy.Low), run.Float(b.Accuracy.High)})
	}
	searches, err := eval.ParseSearches(s.Searches, float32(s.SearchTemperature))
	if err != nil {
		return nil, err
	}
	for _, by := range searches {
		r, err := answer(*suite.Searched(by, 0), suite.Name+" "+by.Name)
		if err != nil {
			return nil, err
		}
		out.Searches = append(out.Searches, searchInfo{by.Name, run.Float(r.Accuracy.Mean), run.Float(r.Accuracy.Low), run.Float(r.Accuracy.High), run.Float(r.Length)})
	}
	if samples := s.Samples; samples > 1 {
		sampled := *suite
		sampled.Budgets = nil
		sampled.Samples, sampled.Params.Greedy, sampled.Params.Temperature = samples, false, 1
		r, err := answer(sampled, fmt.Sprintf("%s pass@%d", suite.Name, samples))
		if err != nil {
			return nil, err
		}
		out.PassAt = &passAtInfo{samples, run.Float(r.PassAt.Mean), run.Float(r.PassAt.Low), run.Float(r.PassAt.High)}
	}
	return out, nil
}

func percent(share run.Float) string { return fmt.Sprintf("%.1f %%", 100*share) }

// loadEval reads the settings; a run's model brings the run's own along as defaults.
func loadEval(settings []string) (*evalSettings, error) {
	s := defaultEval()
	if err := config.Load(s, "", nil, settings); err != nil {
		return nil, err
	}
	stored, err := recipe.StoredSettings(s.Model)
	if err != nil {
		return nil, err
	}
	if stored != nil {
		c := stored.Shared()
		model := s.Model
		s = defaultEval()
		s.Model, s.System, s.Suffix, s.Context, s.Slots, s.Precision = model, c.System, c.Suffix, c.Context, c.Slots, c.Precision
		s.Split, s.Problems, s.MaxTokens, s.Budgets, s.Seed = c.Eval.Split, c.Eval.Problems, c.Eval.MaxTokens, c.Eval.Budgets, c.Eval.Seed
		if s.Task = c.Eval.Task; s.Task == "" {
			s.Task = stored.EvalTask()
		}
		if err := config.Load(s, "", nil, settings); err != nil {
			return nil, err
		}
	}
	if s.Task == "" {
		return nil, fmt.Errorf("task: name what to measure, such as task=countdown; %s brings none", s.Model)
	}
	return s, nil
}
