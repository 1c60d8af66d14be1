package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/hone-lm/hone/eval/stats"
	"github.com/hone-lm/hone/recipe"
	"github.com/hone-lm/hone/recipe/claim"
	"github.com/hone-lm/hone/run"
	"github.com/hone-lm/hone/run/progress"
)

type sweepCmd struct {
	Recipe   string   `arg:"" help:"A recipe's name, or a YAML file whose first line is recipe: NAME."`
	Settings []string `arg:"" optional:"" help:"key=value, key=a,b,c or key=1..3."`
	Jobs     int      `default:"1" help:"Runs at a time, each in a process of its own."`
	Runs     string   `default:"runs/sweep" help:"Folder of the run folders."`
	JSON     bool     `name:"json" help:"End in one JSON object on standard output."`
}

func (sweepCmd) Help() string {
	return `Runs a recipe for every combination of settings and prints one table, seeds averaged. Runs that are there already are taken as they are, stopped ones go on: after Ctrl-C the same command continues. Stages that runs have in common are computed once. A comma that belongs to a value is written \, .

  hone sweep grpo lr=1e-4,3e-4 seed=1..3
  hone sweep warmup-grpo grpo.lr=3e-5,1e-4 grpo.clip_range.high=0.2,0.28 --jobs 2
  hone sweep my.yaml seed=1..3`
}

// Run sweeps.
func (c *sweepCmd) Run(a *app) error {
	name, path, src, err := settingsFile(c.Recipe)
	if err != nil {
		return err
	}
	if _, err := recipe.Get(name); err != nil {
		return badCall{err}
	}
	var axes []claim.Axis
	for _, s := range c.Settings {
		x, err := claim.ParseAxis(s)
		if err != nil {
			return badCall{err}
		}
		axes = append(axes, x)
	}
	jobs := claim.Grid(name, axes)
	x := executor(a, c.Runs, c.Jobs, "sweep")
	if x.Path, x.Source = path, src; path != "" { // runs are called after the file
		base := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
		for i := range jobs {
			jobs[i].Name = base + strings.TrimPrefix(jobs[i].Name, name)
		}
	}
	runs, err := x.Run(a.ctx, jobs)
	if err != nil {
		return again(a.ctx, err)
	}
	return c.tell(a, axes, jobs, runs)
}

// again says how a sweep or a claim that was stopped goes on.
func again(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted: what was done is kept; the same command goes on")
	}
	return err
}

// executor runs jobs with this program.
func executor(a *app, runs string, jobs int, what string) *claim.Executor {
	display := progress.New(a.errOut)
	var bar *progress.Bar
	return &claim.Executor{Runs: runs, Cache: runs + "/cache", Jobs: jobs, Launch: launcher(jobs), Told: func(done, total int, j claim.Job, how string) {
		if bar == nil {
			bar = display.Stage(what, total)
		}
		bar.Set(done, progress.Field{Text: j.Name + " " + how})
		if done == total {
			bar.Done("")
			display.Close()
			bar = nil
		}
	}}
}

// launcher starts this program again for one run; the cores are dealt among the runs at a time. Ctrl-C reaches the child as an interrupt, so
// that it saves its state.
func launcher(jobs int) func(context.Context, []string) error {
	return func(ctx context.Context, args []string) error {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		cmd := exec.CommandContext(ctx, self, args...)
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
		cmd.Env = append(os.Environ(), fmt.Sprintf("GOMAXPROCS=%d", max(1, runtime.GOMAXPROCS(0)/max(1, jobs))))
		var said strings.Builder
		cmd.Stdout, cmd.Stderr = io.Discard, &said
		if err := cmd.Run(); err != nil {
			lines := strings.Split(strings.TrimSpace(said.String()), "\n")
			return fmt.Errorf("%w: %s", err, lines[len(lines)-1])
		}
		return nil
	}
}

// sweepRow is one combination of "hone sweep --json", seeds averaged.
type sweepRow struct {
	Settings map[string]string    `json:"settings"`
	Runs     []string             `json:"runs"`
	Values   map[string]sweepMean `json:"values"` // of the last evaluation and the last step
}

type sweepMean struct {
	Mean run.Float `json:"mean"`
	Low  run.Float `json:"low"` // 95 % t-interval over seeds
	High run.Float `json:"high"`
	N    int       `json:"n"`
}

// tell prints one row for each combination of everything but the seed.
func (c *sweepCmd) tell(a *app, axes []claim.Axis, jobs []claim.Job, runs []*run.Run) error {
	var varied []string
	for _, x := range axes {
		if len(x.Values) > 1 && x.Key != "seed" {
			varied = append(varied, x.Key)
		}
	}
	rows, err := sweepRows(varied, jobs, runs)
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(map[string]any{"recipe": c.Recipe, "rows": rows})
	}
	shown := []string{run.Accuracy, run.Reward, run.Length, run.Loss}
	t := newTable(a.out)
	t.row(append(append(slices.Clone(varied), "seeds"), shown...)...)
	for _, r := range rows {
		cells := []string{}
		for _, k := range varied {
			cells = append(cells, r.Settings[k])
		}
		cells = append(cells, fmt.Sprint(len(r.Runs)))
		for _, name := range shown {
			cells = append(cells, r.Values[name].String())
		}
		t.row(cells...)
	}
	t.flush()
	fmt.Fprintf(a.out, "next: hone runs --root %s ls\n", c.Runs)
	return nil
}

// String is the mean with its interval, where there are seeds enough for one.
func (m sweepMean) String() string {
	switch m.N {
	case 0:
		return "-"
	case 1:
		return fmt.Sprintf("%.4g", float64(m.Mean))
	}
	return fmt.Sprintf("%.4g [%.4g, %.4g]", float64(m.Mean), float64(m.Low), float64(m.High))
}

// sweepRows puts the runs of a combination together: those whose varied settings are the same.
func sweepRows(varied []string, jobs []claim.Job, runs []*run.Run) ([]*sweepRow, error) {
	var rows []*sweepRow
	values := map[*sweepRow]map[string][]float64{}
	for i, j := range jobs {
		at := map[string]string{}
		for _, s := range j.Settings {
			if k, v, _ := strings.Cut(s, "="); slices.Contains(varied, k) {
				at[k] = v
			}
		}
		k := slices.IndexFunc(rows, func(r *sweepRow) bool { return maps.Equal(r.Settings, at) })
		if k < 0 {
			k = len(rows)
			rows = append(rows, &sweepRow{Settings: at, Values: map[string]sweepMean{}})
			values[rows[k]] = map[string][]float64{}
		}
		last, err := lastValues(runs[i])
		if err != nil {
			return nil, err
		}
		rows[k].Runs = append(rows[k].Runs, runs[i].Dir)
		for name, v := range last {
			values[rows[k]][name] = append(values[rows[k]][name], v)
		}
	}
	for _, r := range rows {
		for name, x := range values[r] {
			m := stats.TInterval(x)
			r.Values[name] = sweepMean{run.Float(m.Mean), run.Float(m.Low), run.Float(m.High), len(x)}
		}
	}
	return rows, nil
}

// lastValues are the values of a run's last training step and last evaluation.
func lastValues(r *run.Run) (map[string]float64, error) {
	rows, err := r.ReadMetrics(run.MetricsFile)
	if err != nil {
		return nil, err
	}
	out := map[string]float64{}
	for _, kind := range []string{run.KindTrain, run.KindEval} {
		for _, row := range slices.Backward(rows) {
			if row.Kind == kind {
				for _, v := range row.Values {
					out[v.Name] = v.V
				}
				break
			}
		}
	}
	return out, nil
}
