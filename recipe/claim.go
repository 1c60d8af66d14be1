package recipe

import (
	"fmt"
	"math"
	"slices"

	"github.com/hone-lm/hone/eval/stats"
)

// Claim is what a paper says and how it is put to the test here, as data: committed before the first result. Package claim runs it.
type Claim struct {
	Says   string   // the paper's statement, in one sentence
	Scale  string   // how the experiment was scaled down from the paper's
	Metric string   // a value of the last evaluation: accuracy, pass_at_8, length, gsm8k/accuracy
	Shows  []string // other values of the last evaluation, for the table
	Budget Budget
	Common []string // settings of every arm
	Arms   []Arm    // in the order of the table; the first is the baseline
	A, B   string   // the pair that decides: A should beat B
	Rule   Rule     // zero: the paired interval of A - B on Metric
	Grids  []Grid   // learning rates, one grid for each kind of stage, shared by all arms
	Learns []Learns // arms that must learn, or the table is void
}

// Arm is one way of training: a recipe with settings.
type Arm struct {
	Name     string
	Recipe   string // "" = the claim's own
	Settings []string
	Given    []Given // settings that the runs of another arm decide
}

// Given is a setting whose value is the mean of a metric over the training steps of another arm's run on the same seed: a control that has to
// spend as much of something as another arm turned out to. The other arm runs first.
type Given struct {
	Key           string // of this arm: share
	Arm           string // the other arm
	Stage, Metric string // mix, sft_step
}

// Budget is what all arms may spend alike; arms that spend more than Slack apart make a table void.
type Budget struct {
	Unit  BudgetUnit
	Slack float64 // relative; 0 means 0.05
}

// BudgetUnit names what is held equal.
type BudgetUnit string

const (
	Updates BudgetUnit = "updates" // optimiser updates
	Sampled BudgetUnit = "sampled" // sampled tokens in training
	FLOPs   BudgetUnit = "flops"   // 6 x parameters x trained tokens + 2 x parameters x sampled tokens
)

// Grid is a learning rate's grid of three: each value is tried on one arm and seed, graded on the validation split, and the best goes to
// every arm that has one of the keys.
type Grid struct {
	Kind   string   // sft, rl, pairs
	Arm    string   // the arm that is tuned
	Keys   []string // settings of this kind in all arms: sft.lr, grpo.lr
	Values []string
}

// Learns asks that an arm learns in a stage: rl arms must end above their start by more than the interval of the difference over seeds, sft
// arms must lower their held-out loss by more than it.
type Learns struct {
	Arm, Stage, Kind string
	Metric           string // of rl stages; "" = the claim's
}

// Rule turns the table into a verdict.
type Rule struct {
	Text   string
	Decide func(t *Table) Decision
}

// Verdict is what a table says of a claim, at the scale at which it was run.
type Verdict string

const (
	Reproduced   Verdict = "reproduced"
	Contradicted Verdict = "contradicted"
	Undecided    Verdict = "undecided"
	Void         Verdict = "void" // the table cannot say anything: a baseline did not learn, or budgets differ
)

// Decision is a verdict with the difference that decided.
type Decision struct {
	Verdict    Verdict
	Difference stats.Interval // A - B over seeds
	Why        string
}

// Outcome is one arm on one seed.
type Outcome struct {
	Arm     string
	Seed    uint64
	Run     string                // its folder
	Final   map[string]float64    // the last evaluation
	Before  map[string]float64    // the evaluation before the last stage
	Curve   []Point               // every evaluation
	Losses  map[string][2]float64 // by stage: first and last validation loss
	Means   map[string]float64    // of what training steps measured: mix/sft_step, over the steps that have it
	Given   []string              // the settings that another arm's run gave
	Updates float64
	Sampled float64 // tokens
	Trained float64 // tokens
	FLOPs   float64
	Seconds float64
}

// Point is one evaluation on the way.
type Point struct {
	Stage  string
	Update float64 // of the whole run
	Values map[string]float64
}

// Table is every arm on every seed.
type Table struct {
	Claim    *Claim
	Outcomes []*Outcome
}

// Of returns an arm's outcomes in the order of their seeds.
func (t *Table) Of(arm string) []*Outcome {
	var out []*Outcome
	for _, o := range t.Outcomes {
		if o.Arm == arm {
			out = append(out, o)
		}
	}
	slices.SortFunc(out, func(a, b *Outcome) int { return int(a.Seed) - int(b.Seed) })
	return out
}

// Mean returns an arm's mean of a metric with its t-interval over seeds.
func (t *Table) Mean(arm, metric string) stats.Interval {
	var x []float64
	for _, o := range t.Of(arm) {
		x = append(x, value(o.Final, metric))
	}
	return stats.TInterval(x)
}

// Paired returns a - b on a metric: the mean and the 95 % t-interval over the seeds that both arms have.
func (t *Table) Paired(a, b, metric string) (stats.Interval, error) {
	return t.overSeeds(a, b, func(x, y *Outcome) float64 { return value(x.Final, metric) - value(y.Final, metric) })
}

// PairedBefore is Paired at the evaluation before the last stage.
func (t *Table) PairedBefore(a, b, metric string) (stats.Interval, error) {
	return t.overSeeds(a, b, func(x, y *Outcome) float64 { return value(x.Before, metric) - value(y.Before, metric) })
}

// overSeeds is the mean over the seeds that both arms have of what tells a's outcome from b's, with its 95 % t-interval.
func (t *Table) overSeeds(a, b string, difference func(x, y *Outcome) float64) (stats.Interval, error) {
	var d []float64
	for _, x := range t.Of(a) {
		for _, y := range t.Of(b) {
			if x.Seed == y.Seed {
				d = append(d, difference(x, y))
			}
		}
	}
	if len(d) < 2 {
		return stats.Interval{}, fmt.Errorf("arms %s and %s share %d seeds: an interval needs at least two", a, b, len(d))
	}
	return stats.TInterval(d), nil
}

func value(m map[string]float64, name string) float64 {
	if v, ok := m[name]; ok {
		return v
	}
	return math.NaN()
}

// Decide applies the claim's rule.
func (t *Table) Decide() Decision {
	if t.Claim.Rule.Decide != nil {
		return t.Claim.Rule.Decide(t)
	}
	return t.ByInterval(t.Claim.A, t.Claim.B, t.Claim.Metric, 0)
}

// ByInterval is the common rule: reproduced when the paired interval of a - b lies above margin, contradicted when it lies below.
func (t *Table) ByInterval(a, b, metric string, margin float64) Decision {
	d, err := t.Paired(a, b, metric)
	switch {
	case err != nil:
		return Decision{Void, d, err.Error()}
	case math.IsNaN(d.Mean):
		return Decision{Void, d, fmt.Sprintf("metric %s was not measured on every seed", metric)}
	case d.Low > margin:
		return Decision{Reproduced, d, fmt.Sprintf("%s is above %s on %s by more than %g", a, b, metric, margin)}
	case d.High < margin:
		return Decision{Contradicted, d, fmt.Sprintf("%s is not above %s on %s by %g", a, b, metric, margin)}
	}
	return Decision{Undecided, d, fmt.Sprintf("the interval of %s - %s on %s holds %g", a, b, metric, margin)}
}

// Text is the rule in words.
func (c *Claim) RuleText() string {
	if c.Rule.Text != "" {
		return c.Rule.Text
	}
	return fmt.Sprintf("reproduced if the 95 %% paired t-interval over seeds of %s - %s on %s lies above 0, contradicted if below, else undecided", c.A, c.B, c.Metric)
}

// Check refuses a claim that cannot be run.
func (c *Claim) Check() error {
	names := map[string]bool{}
	for _, a := range c.Arms {
		if a.Name == "" || names[a.Name] {
			return fmt.Errorf("claim: arm %q has no name of its own", a.Name)
		}
		names[a.Name] = true
	}
	for _, a := range c.Arms {
		for _, g := range a.Given {
			i := slices.IndexFunc(c.Arms, func(o Arm) bool { return o.Name == g.Arm })
			if g.Key == "" || g.Stage == "" || g.Metric == "" || i < 0 || len(c.Arms[i].Given) > 0 {
				return fmt.Errorf("claim: arm %s is given %+v: want a key, a stage, a metric, and an arm that is given nothing itself", a.Name, g)
			}
		}
	}
	for _, n := range []string{c.A, c.B} {
		if !names[n] {
			return fmt.Errorf("claim: the deciding arm %q is not among the arms", n)
		}
	}
	for _, g := range c.Grids {
		if !names[g.Arm] || len(g.Values) == 0 || len(g.Keys) == 0 {
			return fmt.Errorf("claim: grid %s wants one of the arms, keys and values", g.Kind)
		}
		if slices.ContainsFunc(c.Arms, func(a Arm) bool { return a.Name == g.Arm && len(a.Given) > 0 }) {
			return fmt.Errorf("claim: grid %s tunes arm %s, whose settings another arm gives: tune one that stands by itself", g.Kind, g.Arm)
		}
	}
	for _, l := range c.Learns {
		if !names[l.Arm] || l.Kind != "rl" && l.Kind != "sft" {
			return fmt.Errorf("claim: learns %+v: want one of the arms, and kind rl or sft", l)
		}
	}
	return nil
}
