package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hone-lm/hone/run/report"
)

type benchScaleCmd struct {
	Time    time.Duration `default:"2s" help:"How long each point is measured."`
	Threads int           `help:"Threads; 0 = all cores."`
	CPU     bool          `name:"cpu" help:"Count processor time instead of the clock's, on one thread: for a machine that has other work."`
	Quick   bool          `help:"Fewer points, for a first look."`
	Out     string        `default:"docs" help:"Folder for scale.md and scale.svg."`
}

func (benchScaleCmd) Help() string {
	return `Measures training against parameters and context, sampling against streams, reading against the length of the prompt, each point in a process of
its own, and writes scale.md (tables, and why curves bend) and scale.svg (the same as shares of the limit). Some 15 minutes on two cores.

  hone bench scale
  hone bench scale --quick --time 300ms --out /tmp`
}

// scaleCurve is one curve: how a cost grows with one quantity.
type scaleCurve struct {
	title, x string
	about    string // what is measured, and why the curve bends
	extra    string // heading of a column beyond the common ones
	points   []scalePoint
}

// scalePoint is one measurement of a curve.
type scalePoint struct {
	x        float64
	name     string // of the row
	command  string
	params   int
	sampling float64 // streams; 0 = the limit is the FMA peak
	extra    string
	result   benchResult
}

// Run measures the curves and writes the page.
func (c *benchScaleCmd) Run(a *app) error {
	if c.Threads < 0 || c.Threads > 4096 {
		return badCallf("--threads %d: give 1 or more, or 0 for all cores", c.Threads)
	}
	if info, err := os.Stat(c.Out); err != nil || !info.IsDir() {
		return badCallf("--out %s: there is no such folder", c.Out)
	}
	if c.CPU && c.Threads == 0 {
		c.Threads = 1
	}
	threads := []string{"--threads", fmt.Sprint(c.Threads)}
	limits, err := ownResults[benchPeaks](a.ctx, append([]string{"peak"}, threads...))
	if err != nil {
		return err
	}
	curves := scaleCurves(c.Quick)
	for i := range curves {
		for k := range curves[i].points {
			p := &curves[i].points[k]
			args := append(append(strings.Fields(p.command), threads...), "--plan", "--time", c.Time.String())
			if c.CPU {
				args = append(args, "--cpu")
			}
			list, err := ownResults[benchResult](a.ctx, args)
			if err != nil {
				return err
			}
			p.result = list[0]
			limits[0].PeakGB = max(limits[0].PeakGB, p.result.PeakGBytes)
			fmt.Fprintf(a.errOut, "%s: %.0f tokens/s, %.0f %% of the limit\n", p.result.Case, p.result.TokensPerSec, 100*p.share(limits[0]))
		}
	}
	var picture bytes.Buffer
	if err := report.WriteCurves(&picture, scalePanels(curves, limits[0])); err != nil {
		return err
	}
	for name, text := range map[string][]byte{"scale.svg": picture.Bytes(), "scale.md": []byte(c.page(curves, limits[0]))} {
		if err := os.WriteFile(filepath.Join(c.Out, name), text, 0o666); err != nil {
			return err
		}
	}
	fmt.Fprintf(a.out, "written: %s\n", filepath.Join(c.Out, "scale.md"))
	return nil
}

// share is the speed as a share of the limit: the FMA peak or, for few streams, what memory can bring of the weights.
func (p *scalePoint) share(l benchPeaks) float64 {
	limit := p.result.PeakGFlops
	if p.sampling > 0 { // each pass over the weights, 4 bytes each, serves all streams with 2 operations a weight
		limit = min(limit, p.sampling*l.PeakGB/2)
	}
	return p.result.GFlops / limit
}

// scaleCurves are the curves with the points to measure.
func scaleCurves(quick bool) []scaleCurve {
	shapes, contexts, streams, prompts := []string{"0.3M", "1.0M", "5.4M", "15.5M", "40M", "135M"}, []int{128, 256, 512, 1024, 2048, 4096, 8192}, []int{1, 2, 4, 8, 16, 32, 64}, []int{16, 64, 256, 512, 1024, 2048, 4096}
	if quick {
		shapes, contexts, streams, prompts = shapes[:3], []int{128, 512, 2048}, []int{1, 8, 32}, []int{16, 128, 512}
	}
	return []scaleCurve{paramsCurve(shapes), contextCurve(contexts), streamsCurve(streams), promptCurve(prompts)}
}

func paramsCurve(shapes []string) scaleCurve {
	c := scaleCurve{title: "Training against parameters", x: "parameters", extra: "batch", about: `A training step of each shape on its own batch (hone bench train). Work is 6 x parameters x tokens. Small
models lose to what is not a matrix product: at widths of 64 and 128, norms, SwiGLU, softmax and the hand-over between threads are a larger part of a layer, and products of few columns do not fill
the registers. A vocabulary of 32,000 and more adds a head that is worked through in chunks of rows, whose logits do not stay in the caches.`}
	for _, name := range shapes {
		s, _ := shapeOf(name)
		c.points = append(c.points, scalePoint{x: float64(s.params()), name: name, command: "train --shape " + name, params: s.params(), extra: fmt.Sprintf("%d x %d", s.docs, s.tokens)})
	}
	return c
}

func contextCurve(contexts []int) scaleCurve {
	const shape = "1.0M"
	s, _ := shapeOf(shape)
	c := scaleCurve{title: "Training against context", x: "tokens of the sequence", extra: "attention beside that work", about: `One sequence a step, shape ` + shape + `. Work is still counted as 6 x parameters x tokens, so the curve falls as
attention grows: its operations, which are not counted, are 6 x tokens x width x layers a token (scores and sums over half of the keys, and their gradients), as much as the matrices at some ` +
		fmt.Sprintf("%d", s.params()/(s.config.Hidden*s.config.Layers)) + ` tokens for this shape. Short sequences make small products. Memory grows in proportion to the tokens: no matrix of scores is kept.`}
	for _, n := range contexts {
		share := float64(n*s.config.Hidden*s.config.Layers) / float64(s.params())
		c.points = append(c.points, scalePoint{x: float64(n), name: fmt.Sprint(n), command: fmt.Sprintf("train --shape %s --docs 1 --tokens %d --micro-tokens %d", shape, n, n), params: s.params(), extra: fmt.Sprintf("%.2f times", share)})
	}
	return c
}

func streamsCurve(streams []int) scaleCurve {
	const shape = "15.5M" // its weights do not fit into caches
	s, _ := shapeOf(shape)
	c := scaleCurve{title: "Sampling against streams", x: "sequences sampled together", about: `Shape ` + shape + `, prompts of 16 tokens, 64 new ones (hone bench decode). The limit is the smaller of the FMA peak and of what memory brings: each
pass over the weights gives every stream one token. The limits meet where the streams are as many as the machine does multiply-adds in the time of reading a weight; the speed of many streams is held
by products of few rows, by attention over each stream's own keys, and by drawing.`}
	for _, n := range streams {
		c.points = append(c.points, scalePoint{x: float64(n), name: fmt.Sprint(n), command: fmt.Sprintf("decode --shape %s --streams %d --prompt 16 --new 64", shape, n), params: s.params(), sampling: float64(n)})
	}
	return c
}

func promptCurve(prompts []int) scaleCurve {
	const shape = "5.4M"
	s, _ := shapeOf(shape)
	c := scaleCurve{title: "Reading against the length of the prompt", x: "tokens of the prompt", about: `Shape ` + shape + `, one prompt (hone bench prefill). Work is 2 x parameters without the head x tokens. A short prompt pays for one row of the head and one draw;
a long one for attention, which is not counted.`}
	for _, n := range prompts {
		c.points = append(c.points, scalePoint{x: float64(n), name: fmt.Sprint(n), command: fmt.Sprintf("prefill --shape %s --prompt %d", shape, n), params: s.params()})
	}
	return c
}

// scalePanels draws speed as a share of its limit, and memory as a share of its plan.
func scalePanels(curves []scaleCurve, l benchPeaks) []report.Panel {
	var panels []report.Panel
	for _, c := range curves {
		speed, memory := report.PanelLine{Name: "speed / limit"}, report.PanelLine{Name: "peak memory / plan"}
		for i := range c.points {
			p := &c.points[i]
			speed.X, speed.Y = append(speed.X, p.x), append(speed.Y, p.share(l))
			memory.X, memory.Y = append(memory.X, p.x), append(memory.Y, float64(p.result.PeakRSS)/float64(p.result.Planned))
		}
		panels = append(panels, report.Panel{Title: c.title, X: c.x, Lines: []report.PanelLine{speed, memory}})
	}
	return panels
}

// page writes scale.md.
func (c *benchScaleCmd) page(curves []scaleCurve, l benchPeaks) string {
	var b strings.Builder
	command, clock := "hone bench scale", "speeds are those of the fastest round"
	if c.CPU {
		command, clock = command+" --cpu", "speeds are those of the fastest round in processor time, because the machine had other work"
	}
	if c.Quick {
		command += " --quick"
	}
	fmt.Fprintf(&b, "# How cost grows\n\nWritten by `%s` on %s. %s, %s kernels, %s: f32 %.0f GFLOP/s, memory %.1f GB/s. Every point is a process of its own and can be repeated by the command beside it; "+
		"%s, limits those measured in the same process.\n\n![speed and memory against their limits](scale.svg)\n", command, time.Now().Format("2006-01-02"), machineName(), l.Kernels, plural(l.Threads, "thread"), l.PeakGF, l.PeakGB, clock)
	for i := range curves {
		curves[i].write(&b, l)
	}
	return b.String()
}

func (c *scaleCurve) write(b *strings.Builder, l benchPeaks) {
	fmt.Fprintf(b, "\n## %s\n%s\n\n| %s | tokens/s | GFLOP/s | of the limit | peak memory | planned |", c.title, c.about, c.x)
	line := "\n|---|---|---|---|---|---|"
	if c.extra != "" {
		fmt.Fprintf(b, " %s |", c.extra)
		line += "---|"
	}
	fmt.Fprintf(b, " command |%s---|\n", line)
	for i := range c.points {
		p := &c.points[i]
		r := &p.result
		fmt.Fprintf(b, "| %s | %.0f | %.1f | %.0f %% | %s | %s |", p.name, r.TokensPerSec, r.GFlops, 100*p.share(l), size(r.PeakRSS), size(r.Planned))
		if c.extra != "" {
			fmt.Fprintf(b, " %s |", p.extra)
		}
		fmt.Fprintf(b, " `bench %s` |\n", p.command)
	}
}
