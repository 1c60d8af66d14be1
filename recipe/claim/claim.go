package claim

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/hone-lm/hone/eval/stats"
	"github.com/hone-lm/hone/internal/config"
	"github.com/hone-lm/hone/recipe"
)

// Plan says how much of a claim is run.
type Plan struct {
	Seeds    int // of every arm
	Deciding int // of the pair that decides
}

// DefaultPlan is three seeds for every arm and five for the pair that decides.
func DefaultPlan() Plan { return Plan{Seeds: 3, Deciding: 5} }

// Tuned is what a grid gave.
type Tuned struct {
	Kind   string             `json:"kind"`
	Arm    string             `json:"arm"`
	Keys   []string           `json:"keys"`
	Scores map[string]float64 `json:"scores"` // by value, on the validation split
	Best   string             `json:"best"`
}

// Result is a table with what was found out on the way.
type Result struct {
	Paper    recipe.Paper
	Plan     Plan
	Table    *recipe.Table
	Tuned    []Tuned
	Decision recipe.Decision
	Notes    []string // why a table is void, and what a reader should know
}

// Run puts a paper's claim to the test: tunes, runs every arm on its seeds, checks that the table may speak, and decides.
func Run(ctx context.Context, x *Executor, p recipe.Paper, plan Plan) (*Result, error) {
	c := p.Claim
	if c == nil {
		return nil, fmt.Errorf("recipe %s states no claim", p.Name)
	}
	if err := c.Check(); err != nil {
		return nil, err
	}
	res := &Result{Paper: p, Plan: plan, Table: &recipe.Table{Claim: c}}
	for _, g := range c.Grids {
		t, err := tune(ctx, x, p, g, res.Tuned)
		if err != nil {
			return nil, fmt.Errorf("grid %s: %w", g.Kind, err)
		}
		res.Tuned = append(res.Tuned, t)
	}
	var first, second []recipe.Arm // those whose settings are all known, and those that wait for a result
	for _, a := range c.Arms {
		if len(a.Given) == 0 {
			first = append(first, a)
			continue
		}
		if err := hasKeys(p, a); err != nil { // before any work: the values come too late for that
			return nil, err
		}
		second = append(second, a)
	}
	for _, arms := range [][]recipe.Arm{first, second} {
		if err := res.run(ctx, x, arms); err != nil {
			return nil, err
		}
	}
	res.decide()
	return res, nil
}

// run runs arms on their seeds and adds their outcomes to the table.
func (r *Result) run(ctx context.Context, x *Executor, arms []recipe.Arm) error {
	var jobs []Job
	var outcomes []*recipe.Outcome
	for _, a := range arms {
		for seed := 1; seed <= seedsOf(r.Paper.Claim, a.Name, r.Plan); seed++ {
			given, err := given(r.Table, a, uint64(seed))
			if err != nil {
				return err
			}
			j, err := job(r.Paper, a, r.Tuned, seed, given...)
			if err != nil {
				return err
			}
			jobs, outcomes = append(jobs, j), append(outcomes, &recipe.Outcome{Arm: a.Name, Seed: uint64(seed), Given: given})
		}
	}
	runs, err := x.Run(ctx, jobs)
	if err != nil {
		return err
	}
	for i, o := range outcomes {
		if err := read(runs[i], o); err != nil {
			return err
		}
	}
	r.Table.Outcomes = append(r.Table.Outcomes, outcomes...)
	return nil
}

// seedsOf is how many seeds an arm runs on: an arm that gives settings to others has at least as many as they.
func seedsOf(c *recipe.Claim, arm string, plan Plan) int {
	n := plan.Seeds
	if arm == c.A || arm == c.B {
		n = max(n, plan.Deciding)
	}
	for _, a := range c.Arms {
		if slices.ContainsFunc(a.Given, func(g recipe.Given) bool { return g.Arm == arm }) {
			n = max(n, seedsOf(c, a.Name, plan))
		}
	}
	return n
}

// given returns the settings that finished runs on the same seed decide.
func given(t *recipe.Table, a recipe.Arm, seed uint64) ([]string, error) {
	var settings []string
	for _, g := range a.Given {
		for _, o := range t.Of(g.Arm) {
			if o.Seed != seed {
				continue
			}
			v, ok := o.Means[g.Stage+"/"+g.Metric]
			if !ok {
				return nil, fmt.Errorf("arm %s: its setting %s is the mean of %s in stage %s of arm %s, and run %s measured none", a.Name, g.Key, g.Metric, g.Stage, g.Arm, o.Run)
			}
			settings = append(settings, g.Key+"="+strconv.FormatFloat(v, 'g', -1, 64))
		}
	}
	return settings, nil
}

// hasKeys refuses an arm whose recipe has no such setting.
func hasKeys(p recipe.Paper, a recipe.Arm) error {
	j, err := job(p, a, nil, 1)
	if err != nil {
		return err
	}
	_, cfg, err := recipe.Parse(j.Recipe, "", nil, j.Settings)
	if err != nil {
		return err
	}
	for _, g := range a.Given {
		if !slices.ContainsFunc(config.Keys(cfg), func(k config.KeyInfo) bool { return k.Path == g.Key }) {
			return fmt.Errorf("arm %s: recipe %s has no setting %s, which arm %s is to give", a.Name, j.Recipe, g.Key, g.Arm)
		}
	}
	return nil
}

// job is an arm on a seed, with every tuned rate that the arm has a key for.
func job(p recipe.Paper, a recipe.Arm, tuned []Tuned, seed int, more ...string) (Job, error) {
	name := a.Recipe
	if name == "" {
		name = p.Name
	}
	settings := slices.Concat(p.Claim.Common, a.Settings)
	for _, t := range tuned {
		for _, key := range accepted(name, settings, t.Keys, t.Best) {
			settings = append(settings, key+"="+t.Best)
		}
	}
	settings = append(append(settings, "seed="+strconv.Itoa(seed)), more...)
	_, _, err := recipe.Parse(name, "", nil, settings)
	if err != nil {
		return Job{}, fmt.Errorf("arm %s: %w", a.Name, err)
	}
	return Job{Name: slug(fmt.Sprintf("%s-%s-s%d", p.Name, a.Name, seed)), Recipe: name, Settings: settings}, nil
}

// accepted returns the keys that a recipe knows.
func accepted(name string, settings, keys []string, value string) []string {
	var out []string
	for _, k := range keys {
		if _, _, err := recipe.Parse(name, "", nil, append(slices.Clone(settings), k+"="+value)); err == nil {
			out = append(out, k)
		}
	}
	return out
}

// tune tries a grid's values on one arm and one seed, on problems of the validation split.
func tune(ctx context.Context, x *Executor, p recipe.Paper, g recipe.Grid, before []Tuned) (Tuned, error) {
	t := Tuned{Kind: g.Kind, Arm: g.Arm, Keys: g.Keys, Scores: map[string]float64{}}
	arm := p.Claim.Arms[slices.IndexFunc(p.Claim.Arms, func(a recipe.Arm) bool { return a.Name == g.Arm })]
	var jobs []Job
	for _, v := range g.Values {
		j, err := job(p, arm, append(slices.Clone(before), Tuned{Keys: g.Keys, Best: v}), 1, "eval.split=valid")
		if err != nil {
			return t, err
		}
		if len(accepted(j.Recipe, slices.Concat(p.Claim.Common, arm.Settings), g.Keys, v)) == 0 {
			return t, fmt.Errorf("arm %s has none of the settings %v", g.Arm, g.Keys)
		}
		j.Name = slug(fmt.Sprintf("%s-tune-%s-%s", p.Name, g.Kind, v))
		jobs = append(jobs, j)
	}
	runs, err := x.Run(ctx, jobs)
	if err != nil {
		return t, err
	}
	best := math.Inf(-1)
	for i, r := range runs {
		o := &recipe.Outcome{Arm: g.Arm, Seed: 1}
		if err := read(r, o); err != nil {
			return t, err
		}
		score, ok := o.Final[p.Claim.Metric]
		if !ok {
			return t, fmt.Errorf("run %s measured no %s", r.Dir, p.Claim.Metric)
		}
		t.Scores[g.Values[i]] = score
		if score > best {
			best, t.Best = score, g.Values[i]
		}
	}
	return t, nil
}

// decide checks that the table may speak, and applies the claim's rule.
func (r *Result) decide() {
	r.Decision = r.Table.Decide()
	if note := r.unequal(); note != "" {
		r.Notes = append(r.Notes, note)
	}
	for _, l := range r.Paper.Claim.Learns {
		if ok, note := learned(r.Table, l); !ok {
			r.Notes = append(r.Notes, note)
		}
	}
	if len(r.Notes) > 0 {
		r.Decision.Verdict, r.Decision.Why = recipe.Void, strings.Join(r.Notes, "; ")
	}
}

// unequal tells which arms' budgets are too far apart, "" if none.
func (r *Result) unequal() string {
	b := r.Paper.Claim.Budget
	if b.Slack == 0 {
		b.Slack = 0.05
	}
	low, high, lowArm, highArm := math.Inf(1), math.Inf(-1), "", ""
	for _, a := range r.Paper.Claim.Arms {
		spent := 0.0
		of := r.Table.Of(a.Name)
		for _, o := range of {
			spent += map[recipe.BudgetUnit]float64{recipe.Updates: o.Updates, recipe.Sampled: o.Sampled, recipe.FLOPs: o.FLOPs}[b.Unit] / float64(len(of))
		}
		if spent < low {
			low, lowArm = spent, a.Name
		}
		if spent > high {
			high, highArm = spent, a.Name
		}
	}
	if b.Unit == "" || high <= low*(1+b.Slack) {
		return ""
	}
	return fmt.Sprintf("budgets differ: %s spent %.4g %s and %s %.4g, more than %g %% apart", highArm, high, b.Unit, lowArm, low, 100*b.Slack)
}

// learned asks whether an arm learned in a stage.
func learned(t *recipe.Table, l recipe.Learns) (bool, string) {
	var gains []float64
	metric := l.Metric
	if metric == "" {
		metric = t.Claim.Metric
	}
	for _, o := range t.Of(l.Arm) {
		if l.Kind == "sft" {
			loss, ok := o.Losses[l.Stage]
			if !ok {
				return false, fmt.Sprintf("arm %s measured no validation loss in stage %s: set valid", l.Arm, l.Stage)
			}
			gains = append(gains, loss[0]-loss[1])
			continue
		}
		start, end := math.NaN(), math.NaN()
		for i, p := range o.Curve {
			if p.Stage == l.Stage {
				end = p.Values[metric]
				if math.IsNaN(start) && i > 0 {
					start = o.Curve[i-1].Values[metric]
				}
			}
		}
		gains = append(gains, end-start)
	}
	d := stats.TInterval(gains)
	if d.Low > 0 {
		return true, ""
	}
	return false, fmt.Sprintf("arm %s did not learn in stage %s: %s changed by %.4g [%.4g, %.4g] over %d seeds", l.Arm, l.Stage, map[string]string{"sft": "held-out loss fell", "rl": metric}[l.Kind], d.Mean, d.Low, d.High, len(gains))
}
