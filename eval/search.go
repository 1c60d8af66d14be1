package eval

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/hone-lm/hone/rollout"
)

// Search is a way of answering that spends many samples on one answer.
type Search struct {
	Name   string // in columns: vote_8, plan_cluster_8_3
	Solver rollout.Solver
}

// SearchHelp says what ParseSearch reads.
const SearchHelp = "vote:K (majority of K answers), plan_vote:K, plan_cluster:K or K/CLUSTERS, plan_judge:K, plan_random:K (K plans, then those executed that are chosen so)"

// ParseSearch reads "vote:8": a way of answering with its number of samples, drawn at a temperature.
func ParseSearch(text string, temperature float32) (Search, error) {
	kind, size, _ := strings.Cut(text, ":")
	number, clusters, inClusters := strings.Cut(size, "/")
	k, err := strconv.Atoi(number)
	if err != nil || k < 1 || inClusters && kind != "plan_cluster" {
		return Search{}, fmt.Errorf("search %q: want %s, with K at least 1", text, SearchHelp)
	}
	c := int(math.Round(math.Sqrt(float64(k))))
	if inClusters {
		if c, err = strconv.Atoi(clusters); err != nil || c < 1 || c > k {
			return Search{}, fmt.Errorf("search %q: want from 1 to %d clusters", text, k)
		}
	}
	s := Search{Name: strings.NewReplacer(":", "_", "/", "_").Replace(text)}
	choice, plans := strings.CutPrefix(kind, "plan_")
	switch how := rollout.Choice(choice); {
	case kind == "vote":
		s.Solver = rollout.Vote{Samples: k, Temperature: temperature}
	case plans && (how == rollout.ChooseAll || how == rollout.ChooseClusters || how == rollout.ChooseJudged || how == rollout.ChooseRandom):
		s.Solver = rollout.PlanSearch{Plans: k, Temperature: temperature, Choose: how, Clusters: c}
	default:
		return Search{}, fmt.Errorf("search %q: want %s", text, SearchHelp)
	}
	return s, nil
}

// ParseSearches reads a list of them.
func ParseSearches(list []string, temperature float32) (out []Search, err error) {
	seen := map[string]bool{}
	for _, text := range list {
		s, err := ParseSearch(text, temperature)
		if err != nil {
			return nil, err
		}
		if seen[s.Name] {
			return nil, fmt.Errorf("search %q stands there twice", text)
		}
		seen[s.Name] = true
		out = append(out, s)
	}
	return out, nil
}

// Searched is the suite answered by a search, on its first so many problems (0: all).
func (s *Suite) Searched(by Search, problems int) *Suite {
	out := *s
	out.Solver, out.Samples, out.Budgets = by.Solver, 1, nil
	if problems > 0 && problems < len(out.Problems) {
		out.Problems = out.Problems[:problems]
	}
	return &out
}
