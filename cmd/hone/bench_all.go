package main

import (
	"fmt"
	"math"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/hone-lm/hone/engine"
)

type benchAllCmd struct {
	Time     time.Duration `default:"2s" help:"How long each figure is measured; the fastest round counts."`
	Threads  []int         `help:"Numbers of threads; 1 and all cores when left out."`
	Only     string        `help:"Rows whose command matches this regular expression, such as 'train.*5.4M'."`
	JSON     bool          `name:"json" help:"One JSON object a line instead of a table."`
	Markdown bool          `help:"The table of docs/BENCHMARKS.md instead of text."`
	CPU      bool          `name:"cpu" help:"Count processor time instead of the clock's, on one thread: for a machine that has other work."`
	List     bool          `help:"Show rows and targets, and measure nothing."`
	Peers    bool          `help:"Also time PyTorch, TRL and llama.cpp where they are installed, by the scripts of bench/peers, between hone's own runs."`
	Python   string        `default:"python3" help:"Python that the peers are installed in."`
}

func (benchAllCmd) Help() string {
	return `Measures what this machine can do and every row of docs/BENCHMARKS.md as a ratio to it, each row in a process of its own: the command that stands
behind a row repeats it. Run it on an idle machine; all rows take some 15 minutes on two cores.

  hone bench
  hone bench --only 'train.*(1.0M|5.4M)' --time 5s
  hone bench --markdown > table.md
  hone bench --peers --python venv/bin/python --only train
  hone bench --json | jq 'select(.met == false)'

The peak is the larger of a loop of fused multiply-adds and the best matrix product of the run. Work is 6 x parameters x tokens for a training
step (4 x for LoRA over frozen weights), 2 x parameters a token forward; parameters are those of the matrices, a tied head once. Weights
change with every training step: packing them is inside the clock.`
}

// benchLine is one line of hone bench --json: a result beside what is aimed at.
type benchLine struct {
	benchResult
	Command string  `json:"command"`
	Threads int     `json:"threads"`
	Of      string  `json:"of"`    // what value is: "peak", "bandwidth", "speed-up", "seconds", "bytes", "plan", "grading"
	Value   float64 `json:"value"` // what the target speaks of
	Target  float64 `json:"target,omitempty"`
	AtMost  bool    `json:"at_most,omitempty"` // the target is an upper bound
	Met     *bool   `json:"met,omitempty"`
	NotYet  string  `json:"not_yet,omitempty"` // the engine does not offer it
	Failed  string  `json:"failed,omitempty"`  // why the row could not be measured
}

// aim fills in the target.
func (l benchLine) aim(target float64, atMost bool) benchLine {
	if target > 0 {
		met := l.Value >= target == !atMost || l.Value == target
		l.Target, l.AtMost, l.Met = target, atMost, &met
	}
	return l
}

// benchTable runs rows and prints them.
type benchTable struct {
	a     *app
	c     *benchAllCmd
	only  *regexp.Regexp
	speed map[string]float64 // tokens/s by command
	rows  []benchLine        // for --markdown

	failed int // rows
}

// Run measures all rows.
func (c *benchAllCmd) Run(a *app) error {
	only, err := regexp.Compile(c.Only)
	if err != nil {
		return badCallf("--only: %w", err)
	}
	if c.CPU && len(c.Threads) == 0 {
		c.Threads = []int{1}
	}
	if len(c.Threads) == 0 {
		c.Threads = slices.Compact([]int{1, runtime.GOMAXPROCS(0)})
	}
	if i := slices.IndexFunc(c.Threads, func(n int) bool { return n < 1 || n > 4096 }); i >= 0 {
		return badCallf("--threads %d: give 1 or more", c.Threads[i])
	}
	if c.JSON && c.Markdown {
		return badCallf("--json and --markdown: give one of them")
	}
	t := &benchTable{a: a, c: c, only: only, speed: map[string]float64{}}
	if c.List {
		return t.list()
	}
	if err := t.limits(); err != nil {
		return err
	}
	for i := range benchTargets {
		if err := t.row(&benchTargets[i]); err != nil {
			return err
		}
	}
	if err := t.start(); err != nil {
		return err
	}
	for _, s := range benchSpeedups {
		if err := t.compare(s, slices.Max(c.Threads)); err != nil {
			return err
		}
	}
	if c.Markdown {
		if err := t.markdown(); err != nil {
			return err
		}
	}
	if c.Peers {
		if err := t.peers(); err != nil {
			return err
		}
	}
	if t.failed > 0 {
		return fmt.Errorf("%s could not be measured; each says why", plural(t.failed, "row"))
	}
	return nil
}

// limits prints what this machine can do.
func (t *benchTable) limits() error {
	for _, n := range t.c.Threads {
		list, err := ownResults[benchPeaks](t.a.ctx, []string{"peak", "--threads", fmt.Sprint(n)})
		if err != nil {
			return err
		}
		p := list[0]
		switch {
		case t.c.JSON:
			err = t.a.printJSON(p)
		case t.c.Markdown:
			err = t.say("%s, %s kernels: f32 %.0f GFLOP/s%s, memory %.1f GB/s.\n", p.Case, p.Kernels, p.PeakGF, alsoBF16(p), p.PeakGB)
		default:
			err = t.say("%-16s %s kernels: f32 %.0f GFLOP/s%s, memory %.1f GB/s\n", p.Case, p.Kernels, p.PeakGF, alsoBF16(p), p.PeakGB)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func alsoBF16(p benchPeaks) string {
	if p.FMABF16 == 0 {
		return ""
	}
	return fmt.Sprintf(", bf16 %.0f GFLOP/s", p.FMABF16)
}

func (t *benchTable) say(format string, args ...any) error {
	_, err := fmt.Fprintf(t.a.out, format, args...)
	return err
}

// row runs a row on the numbers of threads that something is promised for: one, or the largest.
func (t *benchTable) row(row *benchTarget) error {
	for _, n := range t.c.Threads {
		all := n == slices.Max(t.c.Threads)
		if row.onlyAll && !all || row.onlyOne && n != 1 {
			continue
		}
		args := row.on(n)
		command := benchCommand(args)
		if !t.only.MatchString(command) {
			continue
		}
		flags := []string{"--plan", "--time", t.c.Time.String()}
		if t.c.CPU {
			flags = append(flags, "--cpu")
		}
		list, err := ownResults[benchResult](t.a.ctx, append(args, flags...))
		if err != nil {
			if err := t.without(benchLine{Command: command, Threads: n}, err); err != nil {
				return err
			}
			continue
		}
		t.speed[command] = list[0].TokensPerSec
		for _, r := range list {
			if err := t.results(row, benchLine{benchResult: r, Command: command, Threads: n}); err != nil {
				return err
			}
		}
	}
	return nil
}

// without says why a row has no figures; the others go on.
func (t *benchTable) without(l benchLine, err error) error {
	switch {
	case t.a.ctx.Err() != nil:
		return t.a.ctx.Err()
	case strings.Contains(err.Error(), notYet):
		l.NotYet = "not offered by the embedded engine yet"
	default:
		l.Failed = err.Error()
		t.failed++
	}
	return t.tell(l)
}

// notYet is in what a verb says about a capability that is missing.
var notYet, _, _ = strings.Cut((&engine.NotYet{Engine: "local"}).Error()[1:], ":")

// on returns the arguments for so many threads.
func (row *benchTarget) on(threads int) []string {
	return append(strings.Fields(row.command), "--threads", fmt.Sprint(threads))
}

func benchCommand(args []string) string { return "hone bench " + strings.Join(args, " ") }

// results prints what a result says: its speed, and what else is promised of the row.
func (t *benchTable) results(row *benchTarget, l benchLine) error {
	l.Of, l.Value = "peak", l.Ratio
	if l.GBytes > 0 {
		l.Of = "bandwidth"
	}
	if err := t.tell(l.aim(row.target(l.Case, l.Threads), false)); err != nil {
		return err
	}
	if row.bytes > 0 {
		l.Of, l.Value = "bytes", float64(l.PeakRSS)
		if err := t.tell(l.aim(row.bytes, true)); err != nil {
			return err
		}
	}
	if l.Planned > 0 {
		l.Of, l.Value = "plan", math.Abs(float64(l.PeakRSS-l.Planned))/float64(l.Planned)
		if err := t.tell(l.aim(max(benchPlanMost, benchPlanBytes/float64(l.Planned)), true)); err != nil {
			return err
		}
	}
	if l.StepSeconds > 0 {
		l.Of, l.Value = "grading", l.Grading
		return t.tell(l.aim(benchGradingMost, true))
	}
	return nil
}

// start measures the start of the program.
func (t *benchTable) start() error {
	args := []string{"start"}
	if !t.only.MatchString(benchCommand(args)) {
		return nil
	}
	list, err := ownResults[benchStarted](t.a.ctx, args)
	if err != nil {
		return err
	}
	l := benchLine{benchResult: benchResult{Case: list[0].Case}, Command: benchCommand(args), Of: "seconds", Value: list[0].Begun}
	if err := t.tell(l.aim(benchStartMost, true)); err != nil || list[0].Stripped == 0 {
		return err
	}
	l.Case, l.Of, l.Value = "size of the stripped program", "bytes", float64(list[0].Stripped)
	return t.tell(l.aim(benchBinaryMost, true))
}

// compare prints how many times as fast one row was as another, where both ran.
func (t *benchTable) compare(s benchSpeedup, threads int) error {
	of := func(command string, n int) float64 {
		return t.speed[benchCommand((&benchTarget{command: command}).on(n))]
	}
	over := threads
	if s.command == s.over {
		over = 1
	}
	a, b := of(s.command, threads), of(s.over, over)
	if a == 0 || b == 0 || s.command == s.over && threads == 1 {
		return nil
	}
	l := benchLine{benchResult: benchResult{Case: fmt.Sprintf("%s over %s", s.what(threads), s.whatOver())}, Command: benchCommand((&benchTarget{command: s.command}).on(threads)), Threads: threads, Of: "speed-up", Value: a / b}
	target := s.target
	if s.command == s.over && threads != 2 {
		target = 0 // promised for two threads
	}
	return t.tell(l.aim(target, false))
}

// tell prints one line, or keeps it for the table of --markdown.
func (t *benchTable) tell(l benchLine) error {
	switch {
	case t.c.JSON:
		return t.a.printJSON(l)
	case t.c.Markdown:
		t.rows = append(t.rows, l)
		return nil
	case l.NotYet != "" || l.Failed != "":
		return t.say("%-62s %s\n", l.Command, l.NotYet+l.Failed)
	}
	speed := ""
	if l.TokensPerSec > 0 && (l.Of == "peak" || l.Of == "bandwidth") {
		speed = fmt.Sprintf("%.0f tokens/s", l.TokensPerSec)
	}
	return t.say("%-62s %-26s %-20s %s\n", l.Case, l.shown(l.Value), l.aimed(), speed)
}

// shown writes a value with what it is.
func (l benchLine) shown(v float64) string {
	switch l.Of {
	case "bytes":
		return size(int64(v))
	case "seconds":
		return fmt.Sprintf("%.3f s", v)
	case "speed-up":
		return fmt.Sprintf("%.2f times", v)
	case "plan":
		return fmt.Sprintf("memory %.0f %% off the plan", 100*v)
	case "grading":
		return fmt.Sprintf("%.2f %% of the step grading", 100*v)
	}
	return fmt.Sprintf("%.0f %% of the %s", 100*v, l.Of)
}

// aimed writes the target and whether it was met.
func (l benchLine) aimed() string {
	if l.Met == nil {
		return ""
	}
	sign, verdict := ">=", "met"
	if l.AtMost {
		sign = "<"
	}
	if !*l.Met {
		verdict = "MISSED"
	}
	short := l.shown(l.Target)
	for _, after := range []string{" of the", " off the"} {
		short, _, _ = strings.Cut(short, after)
	}
	short = strings.TrimPrefix(short, "memory ")
	return fmt.Sprintf("%s %s %s", sign, short, verdict)
}
