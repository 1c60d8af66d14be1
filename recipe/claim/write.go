package claim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/hone-lm/hone/recipe"
	"github.com/hone-lm/hone/run"
)

// document is docs/claims/NAME.json.
type document struct {
	Recipe     string        `json:"recipe"`
	Says       string        `json:"says"`
	Scale      string        `json:"scale"`
	Metric     string        `json:"metric"`
	Rule       string        `json:"rule"`
	Verdict    string        `json:"verdict"`
	Why        string        `json:"why"`
	A          string        `json:"a"`
	B          string        `json:"b"`
	Difference run.Float     `json:"difference"`
	Low        run.Float     `json:"low"`
	High       run.Float     `json:"high"`
	Detectable run.Float     `json:"detectable"` // the smallest difference that so many seeds could have shown
	Budget     string        `json:"budget"`
	Command    string        `json:"command"`
	Version    string        `json:"version"`
	Tuned      []Tuned       `json:"tuned"`
	Arms       []documentArm `json:"arms"`
}

type documentArm struct {
	Name     string                     `json:"name"`
	Recipe   string                     `json:"recipe"`
	Settings []string                   `json:"settings"`
	Mean     run.Float                  `json:"mean"`
	Low      run.Float                  `json:"low"`
	High     run.Float                  `json:"high"`
	Seeds    map[string]documentOutcome `json:"seeds"`
}

type documentOutcome struct {
	Final   map[string]run.Float `json:"final"`
	Given   []string             `json:"given,omitempty"` // settings that another arm's run gave
	Updates float64              `json:"updates"`
	Sampled float64              `json:"sampled_tokens"`
	Trained float64              `json:"trained_tokens"`
	FLOPs   float64              `json:"flops"`
	Seconds float64              `json:"seconds"`
}

// Write writes NAME.md, NAME.json and NAME.svg into a folder. command is how the table was made, version the program's.
func (r *Result) Write(dir, command, version string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	svg, err := curves(r.Table)
	if err != nil {
		return err
	}
	b, err := json.MarshalIndent(r.document(command, version), "", "  ")
	if err != nil {
		return err
	}
	for ext, content := range map[string][]byte{".svg": svg, ".json": append(b, '\n'), ".md": r.markdown(command, version)} {
		if err := run.WriteAtomic(filepath.Join(dir, r.Paper.Name+ext), func(w io.Writer) error { _, err := w.Write(content); return err }); err != nil {
			return err
		}
	}
	return nil
}

func (r *Result) document(command, version string) document {
	c, d := r.Paper.Claim, r.Decision
	doc := document{Recipe: r.Paper.Name, Says: c.Says, Scale: c.Scale, Metric: c.Metric, Rule: c.RuleText(), Verdict: string(d.Verdict), Why: d.Why, A: c.A, B: c.B,
		Difference: run.Float(d.Difference.Mean), Low: run.Float(d.Difference.Low), High: run.Float(d.Difference.High), Detectable: run.Float(d.Difference.Half()),
		Budget: string(c.Budget.Unit), Command: command, Version: version, Tuned: r.Tuned}
	for _, a := range c.Arms {
		m := r.Table.Mean(a.Name, c.Metric)
		arm := documentArm{Name: a.Name, Recipe: a.Recipe, Settings: slices.Concat(c.Common, a.Settings), Mean: run.Float(m.Mean), Low: run.Float(m.Low), High: run.Float(m.High), Seeds: map[string]documentOutcome{}}
		if arm.Recipe == "" {
			arm.Recipe = r.Paper.Name
		}
		for _, o := range r.Table.Of(a.Name) {
			final := map[string]run.Float{}
			for k, v := range o.Final {
				final[k] = run.Float(v)
			}
			arm.Seeds[fmt.Sprint(o.Seed)] = documentOutcome{final, o.Given, o.Updates, o.Sampled, o.Trained, o.FLOPs, o.Seconds}
		}
		doc.Arms = append(doc.Arms, arm)
	}
	return doc
}

func (r *Result) markdown(command, version string) []byte {
	var w bytes.Buffer
	c, d := r.Paper.Claim, r.Decision
	fmt.Fprintf(&w, "# Claim: %s\n\n%s\n\n**Verdict: %s** (at this scale). %s: %s - %s = %s.\n\n", r.Paper.Name, c.Says, d.Verdict, d.Why, c.A, c.B, interval(d.Difference.Mean, d.Difference.Low, d.Difference.High))
	fmt.Fprintf(&w, "Rule: %s. With these seeds a difference of %s could have been shown.\n\n%s\n\n", c.RuleText(), number(d.Difference.Half()), c.Scale)
	fmt.Fprintf(&w, "```\n%s\n```\n\nVersion %s. %s; all are graded on the same held-out problems; intervals are 95 %% t-intervals over seeds.\n\n", command, version, budgetText(c.Budget.Unit))
	r.armTable(&w)
	r.givenSettings(&w)
	for _, t := range r.Tuned {
		fmt.Fprintf(&w, "\nLearning rate of %s stages (%s), tried on arm %s, seed 1, validation split:", t.Kind, strings.Join(t.Keys, ", "), t.Arm)
		for _, g := range c.Grids {
			if g.Kind == t.Kind {
				for _, v := range g.Values {
					fmt.Fprintf(&w, " %s gives %s,", v, number(t.Scores[v]))
				}
			}
		}
		fmt.Fprintf(&w, " so %s for every arm.\n", t.Best)
	}
	fmt.Fprintf(&w, "\n![%s against updates](%s.svg)\n", c.Metric, r.Paper.Name)
	return w.Bytes()
}

func (r *Result) armTable(w *bytes.Buffer) {
	c := r.Paper.Claim
	seeds := 0
	for _, a := range c.Arms {
		seeds = max(seeds, len(r.Table.Of(a.Name)))
	}
	fmt.Fprintf(w, "| arm | %s, mean |", c.Metric)
	for s := 1; s <= seeds; s++ {
		fmt.Fprintf(w, " seed %d |", s)
	}
	for _, name := range c.Shows {
		fmt.Fprintf(w, " %s |", name)
	}
	fmt.Fprintf(w, " updates | sampled tokens | trained tokens | TFLOP | seconds |\n|---|---|%s---|---|---|---|---|\n", strings.Repeat("---|", seeds+len(c.Shows)))
	for _, a := range c.Arms {
		of := r.Table.Of(a.Name)
		m := r.Table.Mean(a.Name, c.Metric)
		fmt.Fprintf(w, "| %s | %s |", a.Name, interval(m.Mean, m.Low, m.High))
		for s := range seeds {
			if s < len(of) {
				fmt.Fprintf(w, " %s |", number(of[s].Final[c.Metric]))
			} else {
				fmt.Fprint(w, " - |")
			}
		}
		for _, name := range c.Shows {
			fmt.Fprintf(w, " %s |", number(r.Table.Mean(a.Name, name).Mean))
		}
		var u, sm, tr, fl, sec float64
		for _, o := range of {
			n := float64(len(of))
			u, sm, tr, fl, sec = u+o.Updates/n, sm+o.Sampled/n, tr+o.Trained/n, fl+o.FLOPs/n, sec+o.Seconds/n
		}
		fmt.Fprintf(w, " %.0f | %.0f | %.0f | %.1f | %.0f |\n", u, sm, tr, fl/1e12, sec)
	}
}

// givenSettings tells which settings the runs of other arms decided.
func (r *Result) givenSettings(w *bytes.Buffer) {
	for _, a := range r.Paper.Claim.Arms {
		for _, g := range a.Given {
			fmt.Fprintf(w, "\n`%s` of arm %s is the mean of %s over the steps of stage %s of arm %s on the same seed:", g.Key, a.Name, g.Metric, g.Stage, g.Arm)
			for _, o := range r.Table.Of(a.Name) {
				for _, s := range o.Given {
					if value, ok := strings.CutPrefix(s, g.Key+"="); ok {
						v, _ := strconv.ParseFloat(value, 64) // as it was written
						fmt.Fprintf(w, " %s", number(v))
					}
				}
			}
			fmt.Fprintln(w, ".")
		}
	}
}

func budgetText(u recipe.BudgetUnit) string {
	switch u {
	case recipe.Updates:
		return "Every arm has the same number of optimiser updates"
	case recipe.Sampled:
		return "Every arm has the same number of tokens sampled in training"
	case recipe.FLOPs:
		return "Every arm has the same number of floating-point operations (6 x parameters x tokens trained + 2 x parameters x tokens sampled)"
	}
	return "Arms differ in cost, on purpose: see the text above"
}

func number(v float64) string {
	if math.IsNaN(v) {
		return "-"
	}
	return fmt.Sprintf("%.4g", v)
}

func interval(mean, low, high float64) string {
	return fmt.Sprintf("%s [%s, %s]", number(mean), number(low), number(high))
}
