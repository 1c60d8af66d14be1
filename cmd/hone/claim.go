package main

import (
	"fmt"
	"strings"

	"github.com/hone-lm/hone/recipe"
	"github.com/hone-lm/hone/recipe/claim"
	"github.com/hone-lm/hone/run"
)

type claimCmd struct {
	Names    []string `arg:"" optional:"" name:"recipe" help:"Recipes that state a claim; all of them with --all."`
	All      bool     `help:"Every recipe with a claim."`
	Seeds    int      `default:"3" help:"Seeds of every arm."`
	Deciding int      `default:"5" help:"Seeds of the pair that decides."`
	Jobs     int      `default:"1" help:"Runs at a time, each in a process of its own."`
	Runs     string   `default:"runs/claims" help:"Folder of the run folders."`
	Out      string   `default:"docs/claims" help:"Folder for NAME.md, NAME.json and NAME.svg."`
	JSON     bool     `name:"json" help:"End in one JSON object on standard output."`
}

func (claimCmd) Help() string {
	return `Puts what a paper says to the test: tunes the learning rates, runs every arm on its seeds under one budget, and writes a table with the verdict reproduced, contradicted or undecided (void if a baseline did not learn). Arms, budget and rule stand in the recipe's source. What was run is kept: the same command goes on after Ctrl-C.

  hone claim reft
  hone claim --all --jobs 2`
}

// claimResult is one claim of --json.
type claimResult struct {
	Recipe     string    `json:"recipe"`
	Verdict    string    `json:"verdict"`
	Why        string    `json:"why"`
	Difference run.Float `json:"difference"`
	Low        run.Float `json:"low"`
	High       run.Float `json:"high"`
	Table      string    `json:"table"`
}

// Run tests claims.
func (c *claimCmd) Run(a *app) error {
	if c.All {
		c.Names = nil
		for _, name := range recipe.Names() {
			if p, err := recipe.Get(name); err == nil && p.Claim != nil {
				c.Names = append(c.Names, name)
			}
		}
	}
	if len(c.Names) == 0 || c.Seeds < 2 || c.Deciding < 2 {
		return badCallf("name recipes with a claim, or say --all; --seeds and --deciding want at least 2, since intervals are over seeds")
	}
	var results []claimResult
	for _, name := range c.Names {
		p, err := recipe.Get(name)
		if err != nil {
			return badCall{err}
		}
		if p.Claim == nil {
			return badCallf("recipe %s states no claim", name)
		}
		r, err := claim.Run(a.ctx, executor(a, c.Runs, c.Jobs, name), p, claim.Plan{Seeds: c.Seeds, Deciding: c.Deciding})
		if err != nil {
			return again(a.ctx, fmt.Errorf("claim %s: %w", name, err))
		}
		build := readBuildInfo()
		command := fmt.Sprintf("hone claim %s --seeds %d --deciding %d", name, c.Seeds, c.Deciding)
		if err := r.Write(c.Out, command, strings.TrimSpace(build.Version+" "+build.Revision)); err != nil {
			return err
		}
		d := r.Decision
		results = append(results, claimResult{name, string(d.Verdict), d.Why, run.Float(d.Difference.Mean), run.Float(d.Difference.Low), run.Float(d.Difference.High), c.Out + "/" + name + ".md"})
	}
	if c.JSON {
		return a.printJSON(map[string]any{"claims": results})
	}
	t := newTable(a.out)
	for _, r := range results {
		t.row(r.Recipe, r.Verdict, fmt.Sprintf("%.4g [%.4g, %.4g]", float64(r.Difference), float64(r.Low), float64(r.High)), r.Table)
	}
	t.flush()
	return nil
}
