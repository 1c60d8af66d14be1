package run

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/hone-lm/hone/internal/rng"
)

// series is a stage of 200 steps whose figures go from one value to another in a line, with noise, and an evaluation every 50 steps.
type series struct{ reward, length, entropy, held [2]float64 }

func (s series) rows(seed uint64) []Metrics {
	noise := func(name string, i int) float64 { return rng.New(seed, name).Normal(uint64(i)) }
	eval := func(stage string, step int, acc float64) Metrics {
		half := 1.96 * math.Sqrt(acc*(1-acc)/500)
		acc += half / 1.96 * noise("held", step)
		return Metrics{Stage: stage, Step: step, Kind: KindEval, Values: []Value{{Accuracy, acc}, {AccuracyLow, acc - half}, {AccuracyHigh, acc + half}}}
	}
	rows := []Metrics{eval("sft", 300, s.held[0])}
	for i := 1; i <= 200; i++ {
		at := func(x [2]float64) float64 { return x[0] + (x[1]-x[0])*float64(i)/200 }
		rows = append(rows, Metrics{Stage: "grpo", Step: i, Kind: KindTrain, Values: []Value{{Loss, 0}, {Reward, at(s.reward) + 0.05*noise("reward", i)},
			{Entropy, at(s.entropy) * (1 + 0.05*noise("entropy", i))}, {Length, at(s.length) * (1 + 0.1*noise("length", i))}}})
		if i%50 == 0 {
			rows = append(rows, eval("grpo", i, at(s.held)))
		}
	}
	return rows
}

var clean = series{reward: [2]float64{0.2, 0.45}, length: [2]float64{18, 24}, entropy: [2]float64{1.1, 0.5}, held: [2]float64{0.26, 0.36}}

// Planted faults are seen, each once, with figures; a clean stage gives no word, nor does a fault while the reward does not rise.
func TestWatch(t *testing.T) {
	plant := func(change func(*series)) series {
		s := clean
		change(&s)
		return s
	}
	for name, c := range map[string]struct {
		series
		want []string // in the order in which they come
	}{
		"clean":        {clean, nil},
		"length":       {plant(func(s *series) { s.length = [2]float64{18, 60} }), []string{"while answers grow from"}},
		"entropy":      {plant(func(s *series) { s.entropy = [2]float64{1.1, 0.02} }), []string{"while entropy collapses from"}},
		"held out":     {plant(func(s *series) { s.held = [2]float64{0.36, 0.15} }), []string{"while the held-out score falls: accuracy from"}},
		"all":          {plant(func(s *series) { s.length[1], s.entropy[1], s.held[1] = 200, 0.01, 0.02 }), []string{"grow", "falls", "collapses"}},
		"flat reward":  {plant(func(s *series) { s.reward[1], s.length[1], s.entropy[1], s.held[1] = s.reward[0]-0.1, 200, 0.01, 0.02 }), nil},
		"better, same": {plant(func(s *series) { s.reward = [2]float64{0.9, 0.99} }), nil},
	} {
		for seed := range uint64(50) {
			got := Warnings(c.rows(seed))
			ok := len(got) == len(c.want)
			for i := range got {
				ok = ok && strings.Contains(got[i].Text, c.want[i]) && strings.HasPrefix(got[i].Text, "warning: reward rises from 0.") && got[i].Stage == "grpo" && got[i].Step >= 2*WatchSteps && got[i].Kind == KindNote
			}
			if !ok {
				t.Errorf("%s, seed %d: %+v; want %q", name, seed, got, c.want)
				break
			}
		}
	}
}

// Every stage is watched anew; suites are told apart; stages without rewards and short ones give no word.
func TestWatchStages(t *testing.T) {
	long := clean
	long.length[1], long.held = 90, [2]float64{0.3, 0.3}
	rows := long.rows(1)
	for _, r := range long.rows(2) {
		if r.Stage == "grpo" {
			r.Stage = "more"
			rows = append(rows, r)
		}
	}
	if got := Warnings(rows); len(got) != 2 || got[0].Stage != "grpo" || got[1].Stage != "more" {
		t.Errorf("%+v", got)
	}
	if got := Warnings(rows[:2*WatchSteps-2]); got != nil {
		t.Errorf("a short stage: %+v", got)
	}
	falls := clean
	falls.held = [2]float64{0.5, 0.1}
	rows = falls.rows(3)
	for i := range rows {
		if rows[i].Kind == KindEval {
			values := rows[i].Values
			for k := range values {
				values[k].Name = "svamp/" + values[k].Name
			}
			for _, v := range []Value{{Accuracy, 0.3}, {AccuracyLow, 0.25}, {AccuracyHigh, 0.35}} {
				values = append(values, Value{"countdown/" + v.Name, v.V})
			}
			rows[i].Values = values
		}
	}
	if got := Warnings(rows); len(got) != 1 || !strings.Contains(got[0].Text, "svamp from ") {
		t.Errorf("suites: %+v", got)
	}
	for i := range rows {
		for k := range rows[i].Values {
			if rows[i].Values[k].Name == Reward {
				rows[i].Values[k].Name = fmt.Sprint("other", k)
			}
		}
	}
	if got := Warnings(rows); got != nil {
		t.Errorf("without rewards: %+v", got)
	}
}
