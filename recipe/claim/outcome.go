package claim

import (
	"maps"
	"strings"

	"github.com/hone-lm/hone/recipe"
	"github.com/hone-lm/hone/run"
)

// read fills an outcome with what a run gave.
func read(r *run.Run, o *recipe.Outcome) error {
	o.Run, o.Losses = r.Dir, map[string][2]float64{}
	rows, err := r.ReadMetrics(run.MetricsFile)
	if err != nil {
		return err
	}
	timing, err := r.ReadMetrics(run.TimingFile)
	if err != nil {
		return err
	}
	o.Means = means(rows)
	type at struct {
		stage string
		step  int
	}
	updates := map[at]float64{}
	var evaluated at
	for _, row := range timing {
		if row.Kind == run.KindTime {
			o.Seconds += counted(row, run.Seconds)
			o.FLOPs += counted(row, run.FLOPs)
			updates[at{row.Stage, row.Step}] = counted(row, run.Updates)
		}
	}
	for _, row := range rows {
		switch row.Kind {
		case run.KindTrain:
			o.Updates += updates[at{row.Stage, row.Step}]
			o.Sampled += counted(row, run.Sampled)
			o.Trained += counted(row, run.Trained)
			if v, ok := row.Get("valid_loss"); ok {
				l, seen := o.Losses[row.Stage]
				if !seen {
					l[0] = v
				}
				l[1] = v
				o.Losses[row.Stage] = l
			}
		case run.KindEval:
			if now := (at{row.Stage, row.Step}); len(o.Curve) == 0 || now != evaluated { // several tasks have a row each
				o.Curve = append(o.Curve, recipe.Point{Stage: row.Stage, Update: o.Updates, Values: map[string]float64{}})
				evaluated = now
			}
			for _, v := range row.Values {
				o.Curve[len(o.Curve)-1].Values[v.Name] = v.V
			}
		}
	}
	if n := len(o.Curve); n > 0 {
		o.Final = maps.Clone(o.Curve[n-1].Values)
		for _, p := range o.Curve {
			if p.Stage != o.Curve[n-1].Stage {
				o.Before = p.Values
			}
		}
	}
	return nil
}

// means returns the mean of every value over the training steps of a stage that have it, as stage/name.
func means(rows []run.Metrics) map[string]float64 {
	sums, counts := map[string]float64{}, map[string]float64{}
	for _, row := range rows {
		if row.Kind != run.KindTrain {
			continue
		}
		for _, v := range row.Values {
			sums[row.Stage+"/"+v.Name] += v.V
			counts[row.Stage+"/"+v.Name]++
		}
	}
	for name, n := range counts {
		sums[name] /= n
	}
	return sums
}

// counted is a value that a row may not have: a step without sampling sampled 0 tokens.
func counted(row run.Metrics, name string) float64 {
	if v, ok := row.Get(name); ok {
		return v
	}
	return 0
}

// slug makes a name fit for a folder.
func slug(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' {
			return r
		}
		return '-'
	}, strings.ToLower(s))
}
