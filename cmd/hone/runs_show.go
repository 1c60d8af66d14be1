package main

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/hone-lm/hone/run"
)

type runsShowCmd struct {
	ID     string `arg:"" help:"The run."`
	Stage  string `help:"Only this stage."`
	Step   int    `default:"-1" help:"One step: its figures, the samples of the evaluation there, and what was sampled for training with the weight of every token."`
	Sample int    `help:"With --step: only this one of the step's training samples, counted from 1, token by token."`
	Config bool   `help:"Print the resolved config instead."`
	JSON   bool   `name:"json" help:"One JSON object instead of text."`
}

// shownRun is what "hone runs show --json" prints.
type shownRun struct {
	ID          string            `json:"id"`
	Dir         string            `json:"dir"`
	Status      string            `json:"status"`
	Created     *time.Time        `json:"created,omitempty"`
	Seconds     float64           `json:"seconds"`
	Stages      []shownStage      `json:"stages"`
	Checkpoints []shownCheckpoint `json:"checkpoints"`
	Samples     []run.Sample      `json:"samples,omitempty"`
	Rollouts    []shownRollout    `json:"rollouts,omitempty"`
}

// shownStage is the last row of each kind (or the rows of one step) of a stage.
type shownStage struct {
	Stage string        `json:"stage"`
	Steps int           `json:"steps"`
	Train *run.Metrics  `json:"train,omitempty"`
	Eval  *run.Metrics  `json:"eval,omitempty"`
	Notes []run.Metrics `json:"notes,omitempty"`
}

type shownCheckpoint struct {
	Stage string `json:"stage"`
	Step  int    `json:"step"`
	Dir   string `json:"dir"`
}

func (c *runsShowCmd) Run(a *app, runs *runsCmd) error {
	r, err := openRun(runs.Root, c.ID)
	if err != nil {
		return err
	}
	if c.Config {
		text, err := r.Config()
		if err != nil {
			return err
		}
		if c.JSON {
			return a.printJSON(map[string]string{"id": r.ID, "config": string(text)})
		}
		_, err = a.out.Write(text)
		return err
	}
	s, err := c.collect(r)
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(s)
	}
	c.print(a, s)
	return nil
}

func (c *runsShowCmd) collect(r *run.Run) (*shownRun, error) {
	timing, err := r.ReadMetrics(run.TimingFile)
	if err != nil {
		return nil, err
	}
	s := &shownRun{ID: r.ID, Dir: r.Dir, Status: r.Status(run.LastEvent(timing)), Checkpoints: []shownCheckpoint{}}
	if at := run.Created(timing); at > 0 {
		t := time.UnixMilli(int64(at * 1000))
		s.Created = &t
	}
	for _, row := range timing {
		if v, ok := row.Get(run.Seconds); ok && row.Kind == run.KindTime && !math.IsNaN(v) {
			s.Seconds += v
		}
	}
	metrics, err := r.ReadMetrics(run.MetricsFile)
	if err != nil {
		return nil, err
	}
	s.Stages = c.stages(append(metrics, run.Warnings(metrics)...))
	if len(s.Stages) == 0 && (c.Stage != "" || c.Step >= 0) {
		return nil, fmt.Errorf("%s: nothing was written for stage %q, step %d; hone runs show %s lists the stages", r.Dir, c.Stage, c.Step, r.ID)
	}
	kept, err := r.Checkpoints()
	if err != nil {
		return nil, err
	}
	for _, k := range kept {
		s.Checkpoints = append(s.Checkpoints, shownCheckpoint{k.Stage, k.Step, k.Dir})
	}
	if c.Step < 0 {
		if c.Sample != 0 {
			return nil, badCallf("--sample needs --step: name the step whose sample is wanted")
		}
		return s, nil
	}
	for _, st := range s.Stages {
		samples, err := r.ReadSamples(st.Stage)
		if err != nil {
			return nil, err
		}
		for _, x := range samples {
			if x.Step == c.Step {
				s.Samples = append(s.Samples, x)
			}
		}
	}
	s.Rollouts, err = c.rollouts(r, s.Stages)
	return s, err
}

// stages keeps the last row of each kind, stages in order of appearance.
func (c *runsShowCmd) stages(metrics []run.Metrics) []shownStage {
	out := []shownStage{}
	at := map[string]int{}
	for i := range metrics {
		m := &metrics[i]
		if c.Stage != "" && m.Stage != c.Stage || c.Step >= 0 && m.Step != c.Step {
			continue
		}
		n, ok := at[m.Stage]
		if !ok {
			n = len(out)
			at[m.Stage] = n
			out = append(out, shownStage{Stage: m.Stage})
		}
		st := &out[n]
		st.Steps = max(st.Steps, m.Step)
		switch m.Kind {
		case run.KindTrain:
			st.Train = m
		case run.KindEval:
			st.Eval = withSuite(st.Eval, m)
		case run.KindNote:
			st.Notes = append(st.Notes, *m)
		}
	}
	return out
}

// withSuite adds an evaluation to those of other suites at the same step; a later step, and a suite that is measured again, take the place.
func withSuite(have, m *run.Metrics) *run.Metrics {
	if have == nil || have.Step != m.Step {
		return m
	}
	all := *m
	all.Values = nil
	for _, v := range have.Values {
		if _, again := m.Get(v.Name); !again {
			all.Values = append(all.Values, v)
		}
	}
	all.Values = append(all.Values, m.Values...)
	return &all
}

func (c *runsShowCmd) print(a *app, s *shownRun) {
	created := ""
	if s.Created != nil {
		created = ", created " + s.Created.Format("2006-01-02 15:04")
	}
	fmt.Fprintf(a.out, "%s  %s%s, %s of steps\n", s.ID, s.Status, created, wall(s.Seconds))
	for _, st := range s.Stages {
		fmt.Fprintf(a.out, "\n%s  step %d\n", st.Stage, st.Steps)
		t := newTable(a.out)
		for _, m := range []*run.Metrics{st.Eval, st.Train} {
			if m == nil {
				continue
			}
			for _, v := range m.Values {
				t.row("", m.Kind, v.Name, figure(v.Name, v.V))
			}
		}
		t.flush()
		for _, n := range st.Notes {
			fmt.Fprintf(a.out, "  step %d: %s\n", n.Step, n.Text)
		}
	}
	if c.Sample > 0 {
		s.Samples = nil
	}
	for _, x := range s.Samples {
		fmt.Fprintf(a.out, "\n%s %s  %s, reward %.3g\n%s\n", x.Stage, x.Problem, x.Verdict, float64(x.Reward), indent(x.Prompt+x.Completion))
	}
	c.printRollouts(a, s)
	if len(s.Checkpoints) > 0 && c.Step < 0 {
		fmt.Fprintln(a.out, "\ncheckpoints")
		for _, k := range s.Checkpoints {
			fmt.Fprintf(a.out, "  %s step %d  %s\n", k.Stage, k.Step, k.Dir)
		}
	}
	c.printNext(a, s)
}

func (c *runsShowCmd) printNext(a *app, s *shownRun) {
	dir := s.Dir
	switch {
	case c.Step >= 0 && c.Sample == 0 && len(s.Rollouts) > 0:
		fmt.Fprintf(a.out, "\nnext: hone runs show %s --step %d --sample 1\n", s.ID, c.Step)
	case c.Step >= 0:
		fmt.Fprintf(a.out, "\nnext: hone runs show %s\n", s.ID)
	case s.Status == run.Stopped || s.Status == run.Failed:
		fmt.Fprintf(a.out, "\nnext: hone resume %s\n", dir)
	case s.Status == run.Done && len(s.Checkpoints) > 0:
		fmt.Fprintf(a.out, "\nnext: hone chat model=%s   hone runs show %s --step N   hone runs export %s csv\n", dir, s.ID, s.ID)
	}
}

func indent(s string) string {
	return "  " + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n  ")
}
