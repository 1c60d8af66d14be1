package report

import (
	"maps"
	"slices"

	"github.com/hone-lm/hone/run"
)

// What the page holds of the training samples: enough to see how they change, little enough to open at once.
const (
	rolloutSteps  = 5       // of each stage, from the first to the last
	rolloutGroups = 2       // problems of each of these steps
	rolloutRows   = 4       // samples of each of these problems
	rolloutTokens = 60_000  // of the whole page
	rolloutLong   = 4 << 10 // tokens; longer samples are left out
)

// trainingSample is one sample that the page can show.
type trainingSample struct {
	Stage string `json:"stage"`
	run.Rollout
}

// trainingSamples picks samples of every stage.
func trainingSamples(r *run.Run, stages []*Stage) ([]trainingSample, error) {
	var out []trainingSample
	tokens := 0
	for _, s := range stages {
		counts, err := r.RolloutSteps(s.Name)
		if err != nil {
			return nil, err
		}
		steps := spread(slices.Sorted(maps.Keys(counts)), rolloutSteps)
		rows, err := r.Rollouts(s.Name, func(step int) bool { return slices.Contains(steps, step) })
		if err != nil {
			return nil, err
		}
		step, problems := 0, map[string]int{}
		for _, row := range rows {
			if row.Step != step {
				step, problems = row.Step, map[string]int{}
			}
			if problems[row.Problem] == 0 && len(problems) == rolloutGroups || problems[row.Problem] == rolloutRows || len(row.Tokens) > rolloutLong || tokens+len(row.Tokens) > rolloutTokens {
				continue
			}
			problems[row.Problem]++
			tokens += len(row.Tokens)
			out = append(out, trainingSample{s.Name, row})
		}
	}
	return out, nil
}

// spread picks n of a sorted list, the first and the last among them, evenly.
func spread(list []int, n int) []int {
	if len(list) <= n {
		return list
	}
	out := make([]int, n)
	for i := range out {
		out[i] = list[i*(len(list)-1)/(n-1)]
	}
	return out
}
