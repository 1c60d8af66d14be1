package report

import (
	"bytes"
	"fmt"
	"html/template"
	"image/color"
	"math"
	"regexp"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/hone-lm/hone/run"
)

const (
	chartWidth  = 460 // points; the page scales charts to its columns
	chartHeight = 220
	maxPoints   = 300 // a line: more than a chart has pixels to tell apart
)

// Colours that the drawing uses are stand-ins: themed replaces each by a CSS variable, so that one chart serves light and dark pages.
// Their channels are full or empty, because the library rounds the channels of transparent colours.
var (
	ink        = color.RGBA{255, 0, 0, 255}
	gridInk    = color.RGBA{0, 255, 0, 255}
	seriesInks = []color.RGBA{{0, 0, 255, 255}, {255, 255, 0, 255}, {255, 0, 255, 255}, {0, 255, 255, 255}, {255, 255, 255, 255}}
	variables  = map[int]string{0b100: "var(--muted)", 0b010: "var(--grid)", 0b001: "var(--s0)", 0b110: "var(--s1)", 0b101: "var(--s2)", 0b011: "var(--s3)", 0b111: "var(--s4)"}
)

func faded(c color.RGBA, alpha uint8) color.Color { return color.NRGBA{c.R, c.G, c.B, alpha} }

var (
	hexColor  = regexp.MustCompile(`#[0-9A-F]{6}`)
	svgHeader = regexp.MustCompile(`(?s)^.*?<svg width="[^"]*" height="[^"]*"`)
	svgFont   = regexp.MustCompile(`font-family:[^;"]*;font-variant:[^;"]*;font-weight:[^;"]*;font-style:[^;"]*;?`)
	element   = regexp.MustCompile(`<[^>]*>`)
	longPath  = regexp.MustCompile(`-?\d+\.\d{3,}`)
)

// drawChart draws one chart as an <svg> element; stages give the marked boundaries.
func drawChart(ch *chart, stages []*Stage) (template.HTML, error) {
	p := newPlot(ch.Name)
	for _, s := range stages[min(1, len(stages)):] {
		if s.Length > 0 && s.From > 0 {
			p.Add(boundary{x: float64(s.From)})
		}
	}
	drawn := false
	for i, s := range ch.Series {
		ok, err := addSeries(p, s, seriesInks[i%len(seriesInks)])
		if err != nil {
			return "", fmt.Errorf("chart of %s: %w", ch.Name, err)
		}
		drawn = drawn || ok
	}
	if !drawn {
		return "", nil
	}
	last := stages[len(stages)-1]
	p.X.Min, p.X.Max = 0, math.Max(1, float64(last.From+last.Length))
	if p.Y.Max-p.Y.Min < 1e-9*math.Max(1, math.Abs(p.Y.Max)) { // a flat line stands in the middle
		pad := math.Max(math.Abs(p.Y.Max)*0.1, 1e-6)
		p.Y.Min, p.Y.Max = p.Y.Min-pad, p.Y.Max+pad
	}
	p.Add(stageNames{stages})
	c := vgsvg.New(chartWidth, chartHeight)
	p.Draw(draw.New(c))
	var out bytes.Buffer
	if _, err := c.WriteTo(&out); err != nil {
		return "", err
	}
	return themed(out.String(), ch.Name), nil
}

// themed turns the library's document into an inline element with the page's colours and fonts.
func themed(svg, name string) template.HTML {
	svg = svgHeader.ReplaceAllLiteralString(svg, fmt.Sprintf(`<svg role="img" aria-label="%s"`, template.HTMLEscapeString(title(name))))
	svg = svgFont.ReplaceAllLiteralString(svg, "")
	svg = element.ReplaceAllStringFunc(svg, func(e string) string { // coordinates, not the texts between elements
		return longPath.ReplaceAllStringFunc(e, func(n string) string { return n[:strings.IndexByte(n, '.')+3] })
	})
	svg = hexColor.ReplaceAllStringFunc(svg, func(c string) string {
		bits := 0
		for i := 1; i < 7; i += 2 {
			bits <<= 1
			if c[i] >= '8' {
				bits |= 1
			}
		}
		return variables[bits]
	})
	return template.HTML(svg)
}

func newPlot(name string) *plot.Plot {
	p := plot.New()
	p.BackgroundColor = nil
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.LineStyle.Color, a.LineStyle.Width = gridInk, 0.8
		a.Tick.LineStyle.Color, a.Tick.LineStyle.Width, a.Tick.Length = gridInk, 0.8, 0
		a.Tick.Label.Color, a.Tick.Label.Font.Size, a.Tick.Label.Font.Variant = ink, 10, "Sans"
		a.Padding = 2
	}
	p.Y.LineStyle.Width = 0
	p.X.Tick.Marker = ticks{format: func(v float64) string { return fmt.Sprintf("%.10g", v) }}
	p.Y.Tick.Marker = ticks{format: func(v float64) string {
		if name == run.Accuracy {
			return fmt.Sprintf("%.4g %%", 100*v)
		}
		return compact(v)
	}}
	grid := plotter.NewGrid()
	grid.Vertical.Width = 0
	grid.Vertical.Color = color.Transparent
	grid.Horizontal = draw.LineStyle{Color: gridInk, Width: 0.6}
	p.Add(grid)
	return p
}

// compact writes a tick: 0.25, 12k, 1.5M.
func compact(v float64) string {
	for _, u := range []struct {
		size float64
		name string
	}{{1e9, "G"}, {1e6, "M"}, {1e4, "k"}} {
		if math.Abs(v) >= u.size {
			if u.name == "k" {
				u.size = 1e3
			}
			return fmt.Sprintf("%.4g%s", v/u.size, u.name)
		}
	}
	return fmt.Sprintf("%.4g", v)
}

// ticks are four to six round numbers.
type ticks struct{ format func(float64) string }

func (t ticks) Ticks(low, high float64) []plot.Tick {
	span := high - low
	if !(span > 0) || math.IsInf(span, 0) {
		return nil
	}
	step := math.Pow(10, math.Floor(math.Log10(span/4)))
	for _, m := range []float64{2, 5, 10} {
		if span/step > 5.5 {
			step = math.Pow(10, math.Floor(math.Log10(span/4))) * m
		}
	}
	var all []plot.Tick
	for i := math.Ceil(low/step - 1e-9); i*step <= high+1e-9*step; i++ {
		v := i * step
		if i == 0 {
			v = 0 // not -0
		}
		all = append(all, plot.Tick{Value: v, Label: t.format(v)})
	}
	return all
}

// addSeries draws a series and tells whether there was anything to draw.
func addSeries(p *plot.Plot, s *series, c color.RGBA) (bool, error) {
	drawn := false
	for _, part := range parts(s) {
		drawn = true
		var err error
		if s.Eval {
			err = addEval(p, part, c)
		} else {
			err = addLine(p, part, c)
		}
		if err != nil {
			return false, err
		}
	}
	return drawn, nil
}

// parts cuts a series where a value is not finite, and a series of training values where a stage begins: what follows is another
// quantity (the loss of SFT, the loss of GRPO). Evaluations mean the same in all stages.
func parts(s *series) [][]point {
	var all [][]point
	var part []point
	end := func() {
		if part != nil {
			all = append(all, part)
		}
		part = nil
	}
	for _, p := range s.Points {
		if !s.Eval && len(part) > 0 && part[0].Stage != p.Stage {
			end()
		}
		if math.IsNaN(p.Y) || math.IsInf(p.Y, 0) {
			end()
			continue
		}
		part = append(part, p)
	}
	end()
	return all
}

// addLine draws training values: all of them faintly, and their moving average.
func addLine(p *plot.Plot, points []point, c color.RGBA) error {
	if len(points) == 1 {
		return addEval(p, points, c)
	}
	raw, smooth := thin(points), points
	if len(points) >= 40 {
		smooth = average(points, len(points)/40)
	}
	for _, l := range []struct {
		points []point
		style  draw.LineStyle
		skip   bool
	}{{raw, draw.LineStyle{Color: faded(c, 90), Width: 0.8}, len(points) < 40}, {thin(smooth), draw.LineStyle{Color: c, Width: 1.8}, false}} {
		if l.skip {
			continue
		}
		line, err := plotter.NewLine(xys(l.points))
		if err != nil {
			return err
		}
		line.LineStyle = l.style
		p.Add(line)
	}
	return nil
}

// addEval draws evaluation points joined by a line, within the band of their intervals.
func addEval(p *plot.Plot, points []point, c color.RGBA) error {
	var low, high plotter.XYs
	for _, q := range points {
		if !math.IsNaN(q.Low) && !math.IsNaN(q.High) {
			low = append(low, plotter.XY{X: q.X, Y: q.Low})
			high = append(high, plotter.XY{X: q.X, Y: q.High})
		}
	}
	if len(low) > 0 {
		ring := append(plotter.XYs{}, low...)
		for i := len(high) - 1; i >= 0; i-- {
			ring = append(ring, high[i])
		}
		band, err := plotter.NewPolygon(ring)
		if err != nil {
			return err
		}
		band.Color, band.LineStyle.Width = faded(c, 46), 0
		if len(low) == 1 { // a band of no width: a bar instead
			band.LineStyle = draw.LineStyle{Color: c, Width: 1}
		}
		p.Add(band)
	}
	line, dots, err := plotter.NewLinePoints(xys(points))
	if err != nil {
		return err
	}
	line.LineStyle = draw.LineStyle{Color: c, Width: 1.8}
	dots.GlyphStyle = draw.GlyphStyle{Color: c, Radius: vg.Points(2.6), Shape: draw.CircleGlyph{}}
	p.Add(line, dots)
	return nil
}

func xys(points []point) plotter.XYs {
	out := make(plotter.XYs, len(points))
	for i, p := range points {
		out[i] = plotter.XY{X: p.X, Y: p.Y}
	}
	return out
}

// average is the mean over the points up to half before and after each.
func average(points []point, half int) []point {
	out := make([]point, len(points))
	for i := range points {
		from, to := max(0, i-half), min(len(points), i+half+1)
		sum := 0.0
		for _, p := range points[from:to] {
			sum += p.Y
		}
		out[i] = point{X: points[i].X, Y: sum / float64(to-from)}
	}
	return out
}

// thin keeps the lowest and highest point of each of maxPoints/2 sections, so that no peak is lost.
func thin(points []point) []point {
	if len(points) <= maxPoints {
		return points
	}
	var out []point
	sections := maxPoints / 2
	for s := range sections {
		part := points[s*len(points)/sections : (s+1)*len(points)/sections]
		low, high := 0, 0
		for i, p := range part {
			if p.Y < part[low].Y {
				low = i
			}
			if p.Y > part[high].Y {
				high = i
			}
		}
		out = append(out, part[min(low, high)])
		if low != high {
			out = append(out, part[max(low, high)])
		}
	}
	return out
}

// boundary marks where a stage begins.
type boundary struct{ x float64 }

func (b boundary) Plot(c draw.Canvas, p *plot.Plot) {
	toX, _ := p.Transforms(&c)
	x := toX(b.x)
	c.StrokeLine2(draw.LineStyle{Color: ink, Width: 0.8, Dashes: []vg.Length{3, 3}}, x, c.Min.Y, x, c.Max.Y)
}

// stageNames writes the stages' names along the top, where there is room for them.
type stageNames struct{ stages []*Stage }

func (n stageNames) Plot(c draw.Canvas, p *plot.Plot) {
	toX, _ := p.Transforms(&c)
	style := p.X.Tick.Label
	style.XAlign, style.YAlign = draw.XLeft, draw.YTop
	for _, s := range n.stages {
		left, right := toX(float64(s.From)), toX(float64(s.From+s.Length))
		if s.Length > 0 && style.Width(s.Name)+6 < right-left {
			c.FillText(style, vg.Point{X: left + 4, Y: c.Max.Y + 11}, s.Name)
		}
	}
}

// GlyphBoxes asks for the room that the names take above the data.
func (n stageNames) GlyphBoxes(p *plot.Plot) []plot.GlyphBox {
	return []plot.GlyphBox{{X: 0, Y: 1, Rectangle: vg.Rectangle{Max: vg.Point{Y: 12}}}}
}
