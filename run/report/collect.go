package report

import (
	"math"
	"slices"
	"strings"

	"github.com/hone-lm/hone/run"
)

// Stage sums up one stage of a run.
type Stage struct {
	Name         string
	From, Length int          // steps before it and in it
	Trained      float64      // tokens
	Sampled      float64      // tokens
	Seconds      float64      // of its steps
	Evals        []Evaluation // the last evaluation of each suite
	first, last  []run.Sample // samples of the first and last evaluation point
}

// Evaluation is the accuracy of one suite with its interval, in shares of 1; numbers that were not measured are NaN.
type Evaluation struct {
	Suite                   string // empty if the stage has one suite only
	Step                    int
	Accuracy, Low, High     float64
	N                       float64 // problems
	Gain, GainLow, GainHigh float64 // paired difference to the stage before
}

// Stages returns the stages of a run in their order, as far as it has come.
func Stages(r *run.Run) ([]*Stage, error) {
	c, err := collect(r)
	if err != nil {
		return nil, err
	}
	return c.Stages, nil
}

// point is one value of a series; Low and High are NaN where there is no interval.
type point struct {
	X, Y, Low, High float64
	Stage           *Stage
}

type series struct {
	Label  string
	Eval   bool // drawn as points with a band, not as a line
	Points []point
}

type chart struct {
	Name   string
	Series []*series
}

// note is a decision that the loop wrote down.
type note struct {
	Stage, Text string
	Step        int
}

type contents struct {
	ID     string
	Config string
	Status string
	Stages []*Stage
	Main   []*chart // those that every reader looks for, in a fixed order
	More   []*chart
	Notes  []note

	Rollouts []trainingSample
}

// mainCharts come first and in this order; all other values follow by name.
var mainCharts = []string{run.Reward, run.Accuracy, run.Entropy, run.Length, run.GradNorm, run.Loss, run.TokensPerSec}

// counted are values that the stage table sums up or that belong to another value's interval.
var counted = []string{run.Problems, run.Gain, run.GainLow, run.GainHigh, run.Trained, run.Sampled, run.Seconds, run.PeakRSS, run.FLOPs, run.Updates, "time"}

func collect(r *run.Run) (*contents, error) {
	c := &contents{ID: r.ID}
	config, err := r.Config()
	if err != nil {
		return nil, err
	}
	c.Config = strings.TrimRight(string(config), "\n")
	metrics, err := r.ReadMetrics(run.MetricsFile)
	if err != nil {
		return nil, err
	}
	timing, err := r.ReadMetrics(run.TimingFile)
	if err != nil {
		return nil, err
	}
	c.Status = r.Status(run.LastEvent(timing))
	c.stages(metrics, timing)
	for _, row := range append(run.Warnings(metrics), metrics...) {
		if row.Kind == run.KindNote {
			c.Notes = append(c.Notes, note{row.Stage, row.Text, row.Step})
		}
	}
	c.charts(append(metrics, timing...))
	for _, s := range c.Stages {
		samples, err := r.ReadSamples(s.Name)
		if err != nil {
			return nil, err
		}
		s.first, s.last = ends(samples)
	}
	if c.Rollouts, err = trainingSamples(r, c.Stages); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *contents) stage(name string) *Stage {
	for _, s := range c.Stages {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// stages lists the stages in the order of their first row and adds up what they cost.
func (c *contents) stages(metrics, timing []run.Metrics) {
	for _, row := range metrics {
		s := c.stage(row.Stage)
		if s == nil {
			s = &Stage{Name: row.Stage}
			c.Stages = append(c.Stages, s)
		}
		s.Length = max(s.Length, row.Step)
		switch row.Kind {
		case run.KindTrain:
			s.Trained += orZero(row.Get(run.Trained))
			s.Sampled += orZero(row.Get(run.Sampled))
		case run.KindEval:
			s.evaluated(row)
		}
	}
	for _, row := range timing {
		if s := c.stage(row.Stage); s != nil && row.Kind == run.KindTime {
			s.Seconds += orZero(row.Get(run.Seconds))
		}
	}
	from := 0
	for _, s := range c.Stages {
		s.From = from
		from += s.Length
	}
}

func orZero(v float64, _ bool) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	return v
}

// evaluated notes the accuracies of an evaluation row, which replace those of earlier steps.
func (s *Stage) evaluated(row run.Metrics) {
	for _, v := range row.Values {
		suite, name := split(v.Name)
		if name != run.Accuracy {
			continue
		}
		get := func(name string) float64 {
			if suite != "" {
				name = suite + "/" + name
			}
			x, _ := row.Get(name)
			return x
		}
		e := Evaluation{Suite: suite, Step: row.Step, Accuracy: v.V, Low: get(run.AccuracyLow), High: get(run.AccuracyHigh), N: get(run.Problems),
			Gain: get(run.Gain), GainLow: get(run.GainLow), GainHigh: get(run.GainHigh)}
		i := slices.IndexFunc(s.Evals, func(o Evaluation) bool { return o.Suite == suite })
		if i < 0 {
			s.Evals = append(s.Evals, e)
		} else {
			s.Evals[i] = e
		}
	}
}

// split takes "gsm8k/accuracy" apart.
func split(name string) (suite, base string) {
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		return name[:i], name[i+1:]
	}
	return "", name
}

// charts sorts every value of every row into its chart and series.
func (c *contents) charts(rows []run.Metrics) {
	var all []*chart
	for _, row := range rows {
		s := c.stage(row.Stage)
		if s == nil || row.Kind == run.KindNote || row.Kind == run.KindEvent {
			continue
		}
		for _, v := range row.Values {
			suite, base := split(v.Name)
			if slices.Contains(counted, base) || strings.HasSuffix(base, "_low") || strings.HasSuffix(base, "_high") {
				continue
			}
			low, _ := row.Get(v.Name + "_low")
			high, _ := row.Get(v.Name + "_high")
			p := point{X: float64(s.From + row.Step), Y: v.V, Low: low, High: high, Stage: s}
			all = add(all, base, label(row.Kind, suite), row.Kind == run.KindEval, p)
		}
	}
	for _, name := range mainCharts {
		for _, ch := range all {
			if ch.Name == name {
				c.Main = append(c.Main, ch)
			}
		}
	}
	for _, ch := range all {
		if !slices.Contains(mainCharts, ch.Name) {
			c.More = append(c.More, ch)
		}
	}
	slices.SortStableFunc(c.More, func(a, b *chart) int { return strings.Compare(a.Name, b.Name) })
}

func label(kind, suite string) string {
	switch {
	case suite != "" && kind == run.KindTrain:
		return suite + ", training"
	case suite != "":
		return suite
	case kind == run.KindEval:
		return "held out"
	}
	return "training"
}

func add(all []*chart, name, label string, eval bool, p point) []*chart {
	i := slices.IndexFunc(all, func(c *chart) bool { return c.Name == name })
	if i < 0 {
		i = len(all)
		all = append(all, &chart{Name: name})
	}
	ch := all[i]
	j := slices.IndexFunc(ch.Series, func(s *series) bool { return s.Label == label })
	if j < 0 {
		j = len(ch.Series)
		ch.Series = append(ch.Series, &series{Label: label, Eval: eval})
	}
	ch.Series[j].Points = append(ch.Series[j].Points, p)
	return all
}

// First and Last are the sample texts that the page shows.
func (s *Stage) First() []run.Sample { return s.first }

// Last: see First.
func (s *Stage) Last() []run.Sample { return s.last }

const samplesShown = 4

// ends returns a few samples of the first and, when there is another, the last evaluation point.
func ends(samples []run.Sample) (first, last []run.Sample) {
	if len(samples) == 0 {
		return nil, nil
	}
	at := func(step int) (some []run.Sample) {
		for _, s := range samples {
			if s.Step == step && len(some) < samplesShown {
				some = append(some, s)
			}
		}
		return some
	}
	a, b := samples[0].Step, samples[len(samples)-1].Step
	if a == b {
		return nil, at(b)
	}
	return at(a), at(b)
}
