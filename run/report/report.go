// Package report writes a run's report.md and report.html from the plain files of its folder: a table of the stages, charts with the
// stages' boundaries and confidence bands, sample texts, notes and settings. The page needs nothing but itself and follows the
// reader's choice of a light or dark screen.
package report

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"strings"
	text "text/template"
	"time"

	"github.com/hone-lm/hone/run"
	"github.com/hone-lm/hone/run/progress"
)

//go:embed report.html.tmpl report.md.tmpl
var files embed.FS

var funcs = template.FuncMap{
	"accuracy": accuracyCell, "gain": gainCell, "count": countCell, "clock": clockCell, "title": title, "fence": fence, "cell": cell,
	"color": func(i int) int { return i % len(seriesInks) },
}

// Write writes report.md and report.html of a run, from what its folder holds now. The run may be going on, or belong to another process.
func Write(r *run.Run) error {
	c, err := collect(r)
	if err != nil {
		return err
	}
	md, html, err := render(c)
	if err != nil {
		return fmt.Errorf("report of %s: %w", r.Dir, err)
	}
	if err := r.WriteFile(run.ReportMD, md); err != nil {
		return err
	}
	return r.WriteFile(run.ReportHTML, html)
}

// drawing is a chart as the page shows it.
type drawing struct {
	Title  string
	SVG    template.HTML
	Legend []string // labels of the series, in the order of their colours; empty for a single series
}

func render(c *contents) (md, html []byte, err error) {
	page := struct {
		*contents
		MainCharts, MoreCharts []drawing
		Table                  []tableRow
	}{contents: c, Table: table(c)}
	if page.MainCharts, err = drawings(c.Main, c.Stages); err != nil {
		return nil, nil, err
	}
	if page.MoreCharts, err = drawings(c.More, c.Stages); err != nil {
		return nil, nil, err
	}
	var out bytes.Buffer
	t, err := template.New("").Funcs(funcs).ParseFS(files, "report.html.tmpl")
	if err != nil {
		return nil, nil, err
	}
	if err := t.ExecuteTemplate(&out, "report.html.tmpl", page); err != nil {
		return nil, nil, err
	}
	var plain bytes.Buffer
	if err := markdown(&plain, page); err != nil {
		return nil, nil, err
	}
	return plain.Bytes(), out.Bytes(), nil
}

func drawings(charts []*chart, stages []*Stage) ([]drawing, error) {
	var all []drawing
	for _, ch := range charts {
		svg, err := drawChart(ch, stages)
		if err != nil {
			return nil, err
		}
		if svg == "" {
			continue
		}
		d := drawing{Title: title(ch.Name), SVG: svg}
		if len(ch.Series) > 1 || ch.Series[0].Label != "training" {
			for _, s := range ch.Series {
				d.Legend = append(d.Legend, s.Label)
			}
		}
		all = append(all, d)
	}
	return all, nil
}

// tableRow is one suite of one stage; the figures of the stage itself stand in its first row.
type tableRow struct {
	Stage *Stage // nil in further rows of a stage
	Name  string
	Eval  *Evaluation // nil where nothing was evaluated
}

func table(c *contents) []tableRow {
	var rows []tableRow
	for _, s := range c.Stages {
		if len(s.Evals) == 0 {
			rows = append(rows, tableRow{Stage: s, Name: s.Name})
		}
		for i := range s.Evals {
			row := tableRow{Name: s.Name, Eval: &s.Evals[i]}
			if i == 0 {
				row.Stage = s
			}
			rows = append(rows, row)
		}
	}
	return rows
}

var titles = map[string]string{
	run.Reward: "Reward", run.Accuracy: "Accuracy (band: 95 % interval)", run.Entropy: "Entropy, nats per token", run.Length: "Length, sampled tokens",
	run.GradNorm: "Gradient norm before clipping", run.Loss: "Loss", run.TokensPerSec: "Speed, tokens per second",
}

func title(name string) string {
	if t, ok := titles[name]; ok {
		return t
	}
	return strings.ReplaceAll(name, "_", " ")
}

func accuracyCell(e *Evaluation) string {
	if e == nil || math.IsNaN(e.Accuracy) {
		return "-"
	}
	s := fmt.Sprintf("%.1f %%", 100*e.Accuracy)
	if !math.IsNaN(e.Low) && !math.IsNaN(e.High) {
		s += fmt.Sprintf(" [%.1f, %.1f]", 100*e.Low, 100*e.High)
	}
	return s
}

func gainCell(e *Evaluation) string {
	if e == nil || math.IsNaN(e.Gain) {
		return "-"
	}
	s := fmt.Sprintf("%+.1f", 100*e.Gain)
	if !math.IsNaN(e.GainLow) && !math.IsNaN(e.GainHigh) {
		s += fmt.Sprintf(" [%.1f, %.1f] paired", 100*e.GainLow, 100*e.GainHigh)
	}
	return s
}

func countCell(n float64) string {
	if n == 0 || math.IsNaN(n) {
		return "-"
	}
	return progress.Count(n)
}

func clockCell(seconds float64) string {
	if seconds == 0 {
		return "-"
	}
	return progress.Clock(time.Duration(seconds * float64(time.Second)))
}

// markdown writes report.md, by the template package that does not escape for HTML.
func markdown(w io.Writer, page any) error {
	t, err := text.New("").Funcs(text.FuncMap(funcs)).ParseFS(files, "report.md.tmpl")
	if err != nil {
		return err
	}
	return t.ExecuteTemplate(w, "report.md.tmpl", page)
}

// cell makes text fit into a cell of a Markdown table.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "\r", " ").Replace(s)
}

// fence is a Markdown fence longer than any run of backticks in the text.
func fence(text string) string {
	longest, now := 0, 0
	for _, r := range text {
		if r == '`' {
			now++
			longest = max(longest, now)
		} else {
			now = 0
		}
	}
	return strings.Repeat("`", max(3, longest+1))
}
