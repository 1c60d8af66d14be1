package main

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/hone-lm/hone/run"
	"github.com/hone-lm/hone/run/export"
	"github.com/hone-lm/hone/run/index"
)

type runsCmd struct {
	Root string `default:"runs" help:"Folder of the runs."`

	Ls      runsLsCmd      `cmd:"" help:"List the runs, newest first."`
	Show    runsShowCmd    `cmd:"" help:"Show one run: stages, figures, checkpoints; with --step, one moment of it."`
	Compare runsCompareCmd `cmd:"" help:"Put runs side by side: settings that differ, last figures."`
	Export  runsExportCmd  `cmd:"" help:"Write a run's figures as CSV or for TensorBoard."`
}

func (runsCmd) Help() string {
	return `A run is a folder of plain files; every command here only reads it. An id may be cut short as long as it fits one run only.

  hone runs ls
  hone runs show grpo-7f3a --step 280
  hone runs compare grpo-7f3a grpo-19c2
  hone runs export grpo-7f3a csv > grpo.csv
  hone runs export grpo-7f3a tensorboard --out tb && tensorboard --logdir tb`
}

type runsLsCmd struct {
	JSON bool `name:"json" help:"One JSON object instead of a table."`
}

// runEntry is one run of "hone runs ls --json".
type runEntry struct {
	ID        string    `json:"id"`
	Recipe    string    `json:"recipe"`
	Model     string    `json:"model"`
	Status    string    `json:"status"`
	Created   time.Time `json:"created"`
	Seconds   float64   `json:"seconds"`
	Stage     string    `json:"stage"`
	Step      int       `json:"step"`
	Best      string    `json:"best,omitempty"`
	BestValue run.Float `json:"best_value"`
	BestStage string    `json:"best_stage,omitempty"`
	BestStep  int       `json:"best_step"`
	Problem   string    `json:"problem,omitempty"`
}

func (c *runsLsCmd) Run(a *app, runs *runsCmd) error {
	entries, err := listRuns(runs.Root)
	if err != nil {
		return err
	}
	if c.JSON {
		list := []runEntry{}
		for _, e := range entries {
			list = append(list, runEntry{e.ID, e.Recipe, e.Model, e.Status, e.Created, e.Seconds, e.Stage, e.Step, e.Best, run.Float(e.BestValue), e.BestStage, e.BestStep, e.Problem})
		}
		return a.printJSON(map[string]any{"runs": list})
	}
	if len(entries) == 0 {
		fmt.Fprintf(a.out, "no runs in %s yet; hone run makes one\n", runs.Root)
		return nil
	}
	t := newTable(a.out)
	t.row("run", "status", "stage", "step", "best", "", "wall", "created")
	for _, e := range entries {
		if e.Problem != "" {
			t.row(e.ID, "unreadable: "+e.Problem)
			continue
		}
		best := ""
		if e.Best != "" {
			best = figure(e.Best, e.BestValue)
		}
		t.row(e.ID, e.Status, cmp.Or(e.Stage, "-"), strconv.Itoa(e.Step), e.Best, best, wall(e.Seconds), e.Created.Format("2006-01-02 15:04"))
	}
	t.flush()
	fmt.Fprintf(a.out, "next: hone runs show %s\n", entries[0].ID)
	return nil
}

func listRuns(root string) ([]index.Entry, error) {
	if ids, err := run.List(root); err != nil || len(ids) == 0 { // no database where there is nothing to index
		return nil, err
	}
	x, err := index.Open(root)
	if err != nil {
		return nil, err
	}
	defer x.Close()
	return x.List()
}

type runsCompareCmd struct {
	IDs  []string `arg:"" name:"id" help:"Runs to compare: two or more."`
	JSON bool     `name:"json" help:"One JSON object instead of tables."`
}

// comparedSetting and comparedFigure are the rows of "hone runs compare --json", values in the order of the runs.
type comparedSetting struct {
	Key    string   `json:"key"`
	Values []string `json:"values"`
}

type comparedFigure struct {
	Stage  string      `json:"stage"`
	Kind   string      `json:"kind"`
	Name   string      `json:"name"`
	Values []run.Float `json:"values"`
}

func (c *runsCompareCmd) Run(a *app, runs *runsCmd) error {
	if len(c.IDs) < 2 {
		return badCallf("hone runs compare needs two or more runs; hone runs ls lists them")
	}
	for _, id := range c.IDs { // before a database is made in a folder without runs
		if _, err := openRun(runs.Root, id); err != nil {
			return err
		}
	}
	x, err := index.Open(runs.Root)
	if err != nil {
		return err
	}
	defer x.Close()
	got, err := x.Compare(c.IDs...)
	if err != nil {
		return err
	}
	if c.JSON {
		settings, figures := []comparedSetting{}, []comparedFigure{}
		for _, s := range got.Differ {
			settings = append(settings, comparedSetting{s.Name, s.Values})
		}
		for _, f := range got.Figures {
			values := make([]run.Float, len(f.Values))
			for i, v := range f.Values {
				values[i] = run.Float(v)
			}
			figures = append(figures, comparedFigure{f.Stage, f.Kind, f.Name, values})
		}
		return a.printJSON(map[string]any{"runs": got.IDs, "settings": settings, "figures": figures})
	}
	t := newTable(a.out)
	t.row(append([]string{"settings that differ"}, got.IDs...)...)
	for _, s := range got.Differ {
		t.row(append([]string{s.Name}, s.Values...)...)
	}
	t.flush()
	fmt.Fprintln(a.out)
	t = newTable(a.out)
	t.row(append([]string{"last figures"}, got.IDs...)...)
	for _, f := range got.Figures {
		cells := []string{strings.Join([]string{f.Stage, f.Kind, f.Name}, " ")}
		for _, v := range f.Values {
			cells = append(cells, figure(f.Name, v))
		}
		t.row(cells...)
	}
	t.flush()
	return nil
}

type runsExportCmd struct {
	ID     string `arg:"" help:"The run."`
	Format string `arg:"" enum:"csv,tensorboard" help:"csv or tensorboard."`
	Out    string `type:"path" help:"File (csv; standard output without it) or folder (tensorboard)."`
	JSON   bool   `name:"json" help:"End in one JSON object that names the files; needs --out."`
}

func (c *runsExportCmd) Run(a *app, runs *runsCmd) error {
	r, err := openRun(runs.Root, c.ID)
	if err != nil {
		return err
	}
	var files []string
	switch {
	case c.Out == "" && (c.JSON || c.Format == "tensorboard"):
		return badCallf("hone runs export %s needs --out: name a %s", c.Format, map[string]string{"csv": "file", "tensorboard": "folder"}[c.Format])
	case c.Out == "":
		return export.CSV(r, a.out)
	case c.Format == "csv":
		files = []string{c.Out}
		err = run.WriteAtomic(c.Out, func(w io.Writer) error { return export.CSV(r, w) })
	default:
		files, err = export.TensorBoard(r, c.Out)
	}
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(map[string]any{"run": r.ID, "files": files})
	}
	for _, f := range files {
		fmt.Fprintln(a.out, f)
	}
	return nil
}

// openRun opens a run for reading and says where to look when there is none of that name.
func openRun(root, id string) (*run.Run, error) {
	r, err := run.Open(root, id)
	if err != nil {
		return nil, fmt.Errorf("%w; hone runs ls --root %s lists what is there", err, root)
	}
	return r, nil
}

// table prints rows of cells under each other, two spaces apart.
type table struct {
	w     *tabwriter.Writer
	under io.Writer
}

func newTable(out io.Writer) *table {
	return &table{w: tabwriter.NewWriter(out, 0, 0, 2, ' ', 0), under: out}
}

func (t *table) row(cells ...string) {
	for i, c := range cells {
		cells[i] = strings.Map(func(r rune) rune {
			if r == '\t' || r == '\n' || r == '\r' {
				return ' '
			}
			return r
		}, c)
	}
	fmt.Fprintln(t.w, strings.Join(cells, "\t"))
}

func (t *table) flush() { t.w.Flush() }

// figure writes a value as its name asks: shares in percent, others with four digits.
func figure(name string, v float64) string {
	base := name[strings.LastIndexByte(name, '/')+1:]
	switch {
	case math.IsNaN(v):
		return "-"
	case strings.HasPrefix(base, run.Accuracy) || strings.HasPrefix(base, "pass@"):
		return fmt.Sprintf("%.1f %%", 100*v)
	case v == math.Trunc(v) && math.Abs(v) < 1e9:
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// wall writes seconds as a clock does.
func wall(seconds float64) string {
	s := int(math.Round(seconds))
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}
