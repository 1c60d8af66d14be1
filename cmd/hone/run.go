package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/recipe"
	"github.com/hone-lm/hone/run"
	"github.com/hone-lm/hone/run/report"
	"github.com/hone-lm/hone/train"
)

type runCmd struct {
	Recipe   string   `arg:"" help:"A recipe's name (hone recipes), or a YAML file whose first line is recipe: NAME."`
	Settings []string `arg:"" optional:"" help:"key=value: settings that differ from the defaults, such as seed=2 grpo.lr=3e-5."`
	DryRun   bool     `help:"Print the resolved settings, the memory plan and the first batch with its token weights; train nothing."`
	JSON     bool     `name:"json" help:"End in one JSON object on standard output."`
}

func (runCmd) Help() string {
	return `Trains a model by a recipe and writes everything to a folder under runs/. Ctrl-C stops at the next step; hone resume goes on.

  hone run warmup-grpo
  hone run sft model=path/to/model data=rows.jsonl lora.rank=16 lr=2e-4
  hone run grpo model=runs/sft-7f3a task=countdown?level=4 steps=200
  hone run my.yaml seed=3 --dry-run`
}

// Run trains.
func (c *runCmd) Run(a *app) error {
	name, path, src, err := settingsFile(c.Recipe)
	if err != nil {
		return err
	}
	p, cfg, err := recipe.Parse(name, path, src, c.Settings)
	if err != nil {
		return badCall{err}
	}
	ctx := context.WithoutCancel(a.ctx) // the loop stops by itself, at a step's end
	if c.DryRun {
		return dryRun(ctx, a, p.Name, cfg)
	}
	yaml, err := recipe.Resolved(p.Name, cfg)
	if err != nil {
		return err
	}
	folder := cfg.Shared().Name
	if folder == "" {
		folder = p.Name
	}
	s, err := recipe.Start(ctx, cfg, nil, a.errOut)
	if err != nil {
		return err
	}
	if err := s.Fits(); err != nil { // what cannot run gets no folder
		return err
	}
	r, err := run.Create(cfg.Shared().Runs, folder, yaml)
	if err != nil {
		return err
	}
	defer r.Close()
	s.Run = r
	return execute(ctx, a, s, c.JSON)
}

// settingsFile reads what names a recipe: its name, or a YAML file that names it in its first line and holds settings.
func settingsFile(arg string) (name, path string, src []byte, err error) {
	if !strings.HasSuffix(arg, ".yaml") && !strings.HasSuffix(arg, ".yml") {
		return arg, "", nil, nil
	}
	b, err := os.ReadFile(arg)
	if err != nil {
		return "", "", nil, badCall{err}
	}
	first, _, _ := strings.Cut(string(b), "\n")
	name, ok := strings.CutPrefix(first, "recipe:")
	if !ok {
		return "", "", nil, badCallf("%s:1: the first line must name the recipe: write recipe: sft", arg)
	}
	return strings.TrimSpace(name), arg, append([]byte("#"), b...), nil // the line becomes a comment, so that line numbers stay
}

type resumeCmd struct {
	ID       string   `arg:"" name:"run" help:"The run's folder, such as runs/grpo-7f3a."`
	Settings []string `arg:"" optional:"" help:"key=value: only a larger number of steps may change."`
	JSON     bool     `name:"json" help:"End in one JSON object on standard output."`
}

func (resumeCmd) Help() string {
	return `Goes on with a run that was stopped or killed, from its last state. The result has the bytes of a run that never stopped.

  hone resume runs/grpo-7f3a
  hone resume runs/grpo-7f3a steps=400`
}

// Run goes on with a run.
func (c *resumeCmd) Run(a *app) error {
	r, err := runAt(c.ID)
	if err != nil {
		return badCall{err}
	}
	name, cfg, err := recipe.Stored(r)
	if err != nil {
		return err
	}
	if err := r.Lock(); err != nil {
		return err
	}
	defer r.Close()
	if len(c.Settings) > 0 {
		if cfg, err = extend(r, name, c); err != nil {
			return err
		}
	}
	ctx := context.WithoutCancel(a.ctx)
	s, err := recipe.Start(ctx, cfg, r, a.errOut)
	if err != nil {
		return err
	}
	if len(c.Settings) > 0 {
		if err := s.CheckState(); err != nil {
			return badCall{err}
		}
		yaml, err := recipe.Resolved(name, cfg)
		if err != nil {
			return err
		}
		if err := r.WriteFile(run.ConfigFile, yaml); err != nil {
			return err
		}
	}
	if err := r.Log("resumed %s", strings.Join(c.Settings, " ")); err != nil {
		return err
	}
	return execute(ctx, a, s, c.JSON)
}

// extend returns the settings of a run that has not ended, with other numbers of steps.
func extend(r *run.Run, name string, c *resumeCmd) (recipe.Config, error) {
	yaml, err := r.Config()
	if err != nil {
		return nil, err
	}
	_, cfg, err := recipe.Parse(name, r.Path(run.ConfigFile), append([]byte("#"), yaml...), c.Settings)
	if err != nil {
		return nil, badCall{err}
	}
	for _, s := range c.Settings {
		if key, _, _ := strings.Cut(s, "="); key != "steps" && !strings.HasSuffix(key, ".steps") {
			return nil, badCallf("%s: only steps may change on resume: start a new run with model=%s for anything else", s, c.ID)
		}
	}
	timing, err := r.ReadMetrics(run.TimingFile)
	if err != nil {
		return nil, err
	}
	if run.LastEvent(timing) == run.Done {
		return nil, badCallf("%s has ended: only a run that was stopped can be given more steps; begin another from it with model=%s", r.Dir, r.Dir)
	}
	return cfg, nil
}

// failpoint is set by tests: it is called at the moments that run.Run names.
var failpoint func(name string)

// execute runs a session to its end and shows what it gave.
func execute(ctx context.Context, a *app, s *train.Session, asJSON bool) error {
	begin := time.Now()
	s.Run.Failpoint = failpoint
	release := context.AfterFunc(a.ctx, s.Interrupt)
	defer release()
	info := s.Engine.Info()
	s.Display.Line(fmt.Sprintf("%s %.1f M parameters (%.2f M trained) | %s engine, %s %s, %d threads | seed %d | %s", s.Common.Model, float64(info.Params)/1e6, float64(info.Trainable)/1e6,
		info.Engine, info.Kernels, info.Precision, info.Threads, s.Common.Seed, s.Run.Dir))
	if err := s.Run.Event("started"); err != nil {
		return err
	}
	err := s.Exec(ctx)
	s.Display.Close()
	if errors.Is(err, train.ErrInterrupted) {
		return fmt.Errorf("%w; go on with: hone resume %s", err, s.Run.Dir)
	}
	if errors.Is(err, run.ErrDiskFull) { // there is no room to write down that it failed, and it need not have
		return fmt.Errorf("%w; with room, hone resume %s goes on", err, s.Run.Dir)
	}
	if err != nil {
		return errors.Join(err, s.Run.Log("failed: %v", err), s.Run.Event(run.Failed), s.Run.Sync())
	}
	hash, err := s.Run.Hash("metrics.jsonl", "rollouts/*.jsonl", "rows/*.jsonl", "checkpoints/*/engine.state")
	if err != nil {
		return err
	}
	if err := errors.Join(s.Run.Log("final hash %s", hash), s.Run.Event(run.Done), s.Run.Sync(), report.Write(s.Run)); err != nil {
		return err
	}
	if asJSON {
		stages, err := stageResults(s.Run)
		if err != nil {
			return err
		}
		return a.printJSON(struct {
			Run     string        `json:"run"`
			Seconds float64       `json:"seconds"`
			Hash    string        `json:"hash"`
			Stages  []stageResult `json:"stages"`
		}{s.Run.Dir, time.Since(begin).Seconds(), hash, stages})
	}
	text, err := report.Summary(s.Run)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.out, "\n%s\nhash %.16s   report: %s\nnext: hone chat model=%s   hone runs show %s\n", text, hash, s.Run.Path("report.html"), s.Run.Dir, s.Run.Dir)
	return nil
}

// stageResult is one suite of one stage of --json.
type stageResult struct {
	Name     string    `json:"name"`
	Suite    string    `json:"suite,omitempty"` // when several tasks are evaluated
	Accuracy run.Float `json:"accuracy"`
	Low      run.Float `json:"low"`
	High     run.Float `json:"high"`
	N        int       `json:"n"`
}

// stageResults takes the last evaluation of every suite of every stage.
func stageResults(r *run.Run) ([]stageResult, error) {
	stages, err := report.Stages(r)
	if err != nil {
		return nil, err
	}
	out := []stageResult{}
	for _, s := range stages {
		for _, e := range s.Evals {
			out = append(out, stageResult{s.Name, e.Suite, run.Float(e.Accuracy), run.Float(e.Low), run.Float(e.High), int(e.N)})
		}
	}
	return out, nil
}

// dryRun shows what a run would do.
func dryRun(ctx context.Context, a *app, name string, cfg recipe.Config) error {
	yaml, err := recipe.Resolved(name, cfg)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.out, "%s\n", yaml)
	s, err := recipe.Start(ctx, cfg, nil, a.errOut)
	if err != nil {
		return err
	}
	info := s.Engine.Info()
	f, err := s.Forecast()
	if err != nil {
		return err
	}
	fmt.Fprintf(a.out, "model: %d parameters, %d trained, context %d, micro-batches of %d tokens\n%s\n", info.Params, info.Trainable, info.Context, info.MicroBatch, f.Details())
	for i := range s.Plan.Nodes {
		n := &s.Plan.Nodes[i]
		fmt.Fprintf(a.out, "\nnode %s: %s, %d steps\n", n.Name, n.Kind, n.Steps)
		if n.Kind != train.Train {
			continue
		}
		streams, err := s.FirstBatch(ctx, n)
		if errors.Is(err, train.ErrNotBuilt) {
			fmt.Fprintln(a.out, "its rows are built by a node before it, which a dry run does not run")
			continue
		}
		if err != nil {
			return err
		}
		for _, st := range streams {
			fmt.Fprintf(a.out, "stream %s: %s, norm %s, %d rows; the first:\n", st.Name, st.Obj.Name(), st.Norm, len(st.Rows))
			if len(st.Rows) > 0 {
				printRow(a, info, &st.Rows[0])
			}
		}
	}
	return nil
}

// printRow prints a row's tokens with their weights.
func printRow(a *app, info engine.Info, r *engine.Row) {
	for t, id := range r.Seq.Tokens {
		text, _ := json.Marshal(info.Tokenizer.Token(id))
		fmt.Fprintf(a.out, "  %5d %7d  %-5g %s\n", t, id, r.WeightAt(t), text)
	}
}

// runAt opens a run by its folder.
func runAt(dir string) (*run.Run, error) {
	root, id := splitRun(dir)
	return run.Open(root, id)
}

func splitRun(dir string) (root, id string) {
	dir = strings.TrimSuffix(dir, "/")
	if i := strings.LastIndexByte(dir, '/'); i >= 0 {
		return dir[:i], dir[i+1:]
	}
	return "runs", dir
}
