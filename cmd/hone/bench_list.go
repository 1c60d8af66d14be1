package main

import (
	"fmt"
	"strings"
)

// benchAim is one thing that is aimed at, in words.
type benchAim struct {
	Command string `json:"command"`
	What    string `json:"what,omitempty"` // of what the command measures
	One     string `json:"one_thread,omitempty"`
	All     string `json:"all_cores,omitempty"`
}

// benchAims lists everything that is aimed at in the order in which it is measured.
func benchAims() []benchAim {
	var list []benchAim
	for i := range benchTargets {
		list = append(list, benchTargets[i].aims()...)
	}
	list = append(list, benchAim{"start", "seconds to the first training step", "", fmt.Sprintf("< %g s", benchStartMost)}, benchAim{"start", "size of the stripped program", "", fmt.Sprintf("< %.0f MB", benchBinaryMost/1e6)})
	for _, s := range benchSpeedups {
		what := "speed over " + s.over
		if s.command == s.over {
			what = "speed of two threads over one"
		}
		list = append(list, benchAim{s.command, what, "", fmt.Sprintf(">= %g times", s.target)})
	}
	return list
}

func (row *benchTarget) aims() []benchAim {
	if row.products {
		var list []benchAim
		precision := "f32"
		if strings.Contains(row.command, "bf16") {
			precision = "bf16"
		}
		for _, p := range productTargets {
			if kind, shape, _ := strings.Cut(p.shape, " "); kind == precision {
				of := "peak"
				if strings.HasPrefix(shape, "1x") {
					of = "bandwidth"
				}
				list = append(list, benchAim{row.command, shape, least(p.one, of), least(p.all, of)})
			}
		}
		return list
	}
	of := "peak"
	if strings.HasPrefix(row.command, "decode") && !strings.Contains(row.command, "--streams") {
		of = "bandwidth"
	}
	var list []benchAim
	if row.one > 0 || row.all > 0 {
		list = append(list, benchAim{row.command, "", least(row.one, of), least(row.all, of)})
	}
	if row.bytes > 0 {
		list = append(list, benchAim{row.command, "peak memory", "", fmt.Sprintf("< %g GiB", row.bytes/gib)})
	}
	if row.command == "grpo" {
		list = append(list, benchAim{row.command, "grading", "", fmt.Sprintf("< %.0f %% of the step", 100*benchGradingMost)})
	}
	return list
}

func least(ratio float64, of string) string {
	if ratio == 0 {
		return ""
	}
	return fmt.Sprintf(">= %.0f %% of the %s", 100*ratio, of)
}

// list prints what is aimed at.
func (t *benchTable) list() error {
	if t.c.Markdown {
		if err := t.say("| command | of it | one thread | all cores |\n|---|---|---|---|\n"); err != nil {
			return err
		}
	}
	for _, l := range benchAims() {
		var err error
		switch {
		case !t.only.MatchString("hone bench " + l.Command):
		case t.c.JSON:
			err = t.a.printJSON(l)
		case t.c.Markdown:
			err = t.say("| `bench %s` | %s | %s | %s |\n", l.Command, l.What, l.One, l.All)
		default:
			err = t.say("%-62s %-36s %-24s %s\n", "hone bench "+l.Command, l.What, l.One, l.All)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
