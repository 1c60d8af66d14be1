package report

import (
	"fmt"
	"math"
	"strings"

	"github.com/hone-lm/hone/run"
	"github.com/hone-lm/hone/run/progress"
)

// Summary returns the table of stages as plain text, for the end of a run and hone runs show:
//
//	stage   accuracy              gain over the stage before    cost
//	base     0.0 % [ 0.0,  0.8]
//	sft     26.2 % [22.5, 30.2]   +26.2 [22.4, 30.0] paired     1.2M tokens trained, 0:39
func Summary(r *run.Run) (string, error) {
	c, err := collect(r)
	if err != nil {
		return "", err
	}
	lines := [][4]string{{"stage", "accuracy", "gain over the stage before", "cost"}}
	for _, row := range table(c) {
		line := [4]string{row.Name}
		if e := row.Eval; e != nil {
			line[0] = strings.TrimSpace(row.Name + " " + e.Suite)
			line[1], line[2] = share(e), paired(e)
		}
		if row.Stage != nil {
			line[3] = cost(row.Stage)
		}
		lines = append(lines, line)
	}
	var width [3]int
	for _, l := range lines {
		for i := range width {
			width[i] = max(width[i], len(l[i]))
		}
	}
	var out strings.Builder
	for _, l := range lines {
		text := ""
		for i, w := range width {
			text += fmt.Sprintf("%-*s   ", w, l[i])
		}
		out.WriteString(strings.TrimRight(text+l[3], " ") + "\n")
	}
	return out.String(), nil
}

func share(e *Evaluation) string {
	s := fmt.Sprintf("%4.1f %%", 100*e.Accuracy)
	if math.IsNaN(e.Accuracy) {
		return "   -"
	}
	if !math.IsNaN(e.Low) && !math.IsNaN(e.High) {
		s += fmt.Sprintf(" [%4.1f, %4.1f]", 100*e.Low, 100*e.High)
	}
	return s
}

func paired(e *Evaluation) string {
	if math.IsNaN(e.Gain) {
		return ""
	}
	s := fmt.Sprintf("%+5.1f", 100*e.Gain)
	if !math.IsNaN(e.GainLow) && !math.IsNaN(e.GainHigh) {
		s += fmt.Sprintf(" [%.1f, %.1f] paired", 100*e.GainLow, 100*e.GainHigh)
	}
	return s
}

func cost(s *Stage) string {
	var parts []string
	if s.Sampled > 0 {
		parts = append(parts, progress.Count(s.Sampled)+" tokens sampled")
	}
	if s.Trained > 0 {
		parts = append(parts, progress.Count(s.Trained)+" tokens trained")
	}
	if s.Seconds > 0 {
		parts = append(parts, clockCell(s.Seconds))
	}
	return strings.Join(parts, ", ")
}
