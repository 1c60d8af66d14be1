package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/term"

	"github.com/hone-lm/hone/run"
)

// shownRollouts is how many training samples of a step are printed when none is chosen.
const shownRollouts = 4

// shownRollout is one training sample of a step; Number counts them from 1 over the step.
type shownRollout struct {
	Stage  string `json:"stage"`
	Number int    `json:"number"`
	Of     int    `json:"of"`
	run.Rollout
}

// rollouts reads the training samples of the step: all of them for --json, the first few for people, or the one that was chosen.
func (c *runsShowCmd) rollouts(r *run.Run, stages []shownStage) ([]shownRollout, error) {
	var out []shownRollout
	most := 0
	for _, st := range stages {
		rows, err := r.Rollouts(st.Stage, func(step int) bool { return step == c.Step })
		if err != nil {
			return nil, err
		}
		for i, row := range rows {
			if c.Sample > 0 && i+1 != c.Sample || c.Sample == 0 && !c.JSON && i >= shownRollouts {
				continue
			}
			out = append(out, shownRollout{st.Stage, i + 1, len(rows), row})
		}
		most = max(most, len(rows))
	}
	if c.Sample != 0 && len(out) == 0 {
		return nil, badCallf("--sample %d: step %d has %d training samples, counted from 1", c.Sample, c.Step, most)
	}
	return out, nil
}

func (c *runsShowCmd) printRollouts(a *app, s *shownRun) {
	out, paint := painter(a.out)
	for i := range s.Rollouts {
		x := &s.Rollouts[i]
		fmt.Fprintf(a.out, "\n%s step %d, training sample %d of %d: %s\n", x.Stage, x.Step, x.Number, x.Of, x.Summary())
		printTranscript(out, &x.Rollout, paint)
		if c.Sample > 0 {
			printRolloutTokens(a.out, &x.Rollout)
		}
	}
	if n := len(s.Rollouts); n > 0 && c.Sample == 0 {
		if of := s.Rollouts[n-1].Of; of > shownRollouts {
			fmt.Fprintf(a.out, "\n%d more training samples: --sample K shows one, token by token\n", of-shownRollouts)
		}
	}
}

// printTranscript prints the prompt, then the answer once for every column that says how much its tokens count: the advantage and the weight
// in each stream.
func printTranscript(out io.Writer, r *run.Rollout, paint func(span run.Span, top float64) string) {
	prompt := ""
	for t := range r.Prompt {
		prompt += r.Piece(t)
	}
	fmt.Fprintln(out, indent(visible(prompt)))
	if len(r.Advantage) > 0 {
		fmt.Fprintf(out, "  %-12s %s\n", "advantage", paintColumn(r, r.Advantage, paint))
	}
	for _, stream := range r.Streams() {
		fmt.Fprintf(out, "  %-12s %s   times %.4g\n", "weight "+stream, paintColumn(r, r.Weights[stream], paint), float64(r.Scale[stream]))
	}
	if len(r.Weights) == 0 && len(r.Pieces) > 0 { // earlier versions recorded neither
		fmt.Fprintf(out, "  %-12s %s\n", "not trained", visible(r.Text))
	}
}

func paintColumn(r *run.Rollout, c run.Column, paint func(run.Span, float64) string) string {
	top := 0.0
	for i := range c {
		if v := math.Abs(c.At(i)); v > top {
			top = v
		}
	}
	var b strings.Builder
	for _, s := range r.Spans(c) {
		if s.From >= r.Prompt {
			s.Text = visible(s.Text)
			b.WriteString(paint(s, top))
		}
	}
	return b.String()
}

// visible keeps a column on one line: line ends and other control characters are written as symbols.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return '↵'
		case r < ' ':
			return 0x2400 + r
		case r == 0x7f:
			return '␡'
		}
		return r
	}, s)
}

// painter shows values as colours where out is a terminal that has them, green above 0 and red below, the stronger the further from 0 (top is
// the largest), and by marks anywhere else: [+0.5 text], text alone for 0. What it gives is written to the writer that it returns.
func painter(out io.Writer) (io.Writer, func(s run.Span, top float64) string) {
	f, ok := out.(*os.File)
	profile := colorprofile.NoTTY
	if ok && term.IsTerminal(f.Fd()) {
		profile = colorprofile.Detect(f, os.Environ()) // honours NO_COLOR
	}
	if profile <= colorprofile.ASCII {
		return out, func(s run.Span, _ float64) string {
			if s.Value == 0 {
				return s.Text
			}
			return fmt.Sprintf("[%+.3g %s]", s.Value, s.Text)
		}
	}
	faint := lipgloss.NewStyle().Faint(true)
	shades := map[bool][]lipgloss.Style{}
	for _, positive := range []bool{true, false} {
		for _, color := range map[bool][]string{true: {"#5f875f", "#5faf5f", "#5fd75f"}, false: {"#875f5f", "#d75f5f", "#ff5f5f"}}[positive] {
			shades[positive] = append(shades[positive], lipgloss.NewStyle().Foreground(lipgloss.Color(color)))
		}
	}
	return &colorprofile.Writer{Forward: f, Profile: profile}, func(s run.Span, top float64) string {
		if s.Value == 0 || math.IsNaN(s.Value) {
			return faint.Render(s.Text)
		}
		strength := min(2, int(3*math.Abs(s.Value)/top))
		return shades[s.Value > 0][strength].Render(s.Text) + faint.Render(fmt.Sprintf("%+.3g ", s.Value))
	}
}

// printRolloutTokens prints a line a token: number, id, who wrote it, log-prob, advantage, the weight in each stream, text.
func printRolloutTokens(out io.Writer, r *run.Rollout) {
	t := newTable(out)
	head := []string{"", "token", "id", "kind", "logp_old", "advantage"}
	t.row(append(append(head, r.Streams()...), "text")...)
	number := func(v float64) string { return strconv.FormatFloat(v, 'g', 4, 64) }
	for i := r.Prompt; i < len(r.Tokens); i++ {
		at := i - r.Prompt
		cells := []string{"", strconv.Itoa(i), strconv.Itoa(int(r.Tokens[i])), r.KindAt(i), number(r.LogProb.At(at)), number(r.Advantage.At(at))}
		for _, s := range r.Streams() {
			cells = append(cells, number(r.Weights[s].At(at)))
		}
		t.row(append(cells, strconv.Quote(r.Piece(i)))...)
	}
	t.flush()
}
