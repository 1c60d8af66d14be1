package claim

import (
	"bytes"
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/hone-lm/hone/recipe"
)

// inks are colours that people with any colour vision tell apart (Okabe and Ito 2008).
var inks = []color.RGBA{{0, 114, 178, 255}, {213, 94, 0, 255}, {0, 158, 115, 255}, {204, 121, 167, 255}, {230, 159, 0, 255}, {86, 180, 233, 255}, {0, 0, 0, 255}}

// curves draws each arm's mean over seeds of the claim's metric against optimiser updates, as a picture of its own.
func curves(t *recipe.Table) ([]byte, error) {
	p := plot.New()
	p.X.Label.Text, p.Y.Label.Text = "optimiser updates", t.Claim.Metric
	p.Legend.Top, p.Legend.Left = true, true
	p.Add(plotter.NewGrid())
	for i, a := range t.Claim.Arms {
		xy := meanCurve(t.Of(a.Name), t.Claim.Metric)
		if len(xy) == 0 {
			continue
		}
		line, dots, err := plotter.NewLinePoints(xy)
		if err != nil {
			return nil, err
		}
		ink := inks[i%len(inks)]
		line.LineStyle = draw.LineStyle{Color: ink, Width: 1.6}
		if i >= len(inks) {
			line.Dashes = []vg.Length{4, 2}
		}
		dots.GlyphStyle = draw.GlyphStyle{Color: ink, Radius: 2.4, Shape: draw.CircleGlyph{}}
		p.Add(line, dots)
		p.Legend.Add(a.Name, line, dots)
	}
	c := vgsvg.New(560, 320)
	p.Draw(draw.New(c))
	var out bytes.Buffer
	_, err := c.WriteTo(&out)
	return out.Bytes(), err
}

// meanCurve averages the seeds' evaluations that were made after the same number of updates.
func meanCurve(of []*recipe.Outcome, metric string) plotter.XYs {
	sum, n := map[float64]float64{}, map[float64]float64{}
	for _, o := range of {
		for _, pt := range o.Curve {
			if v, ok := pt.Values[metric]; ok && !math.IsNaN(v) {
				sum[pt.Update] += v
				n[pt.Update]++
			}
		}
	}
	var xy plotter.XYs
	for x := range sum {
		xy = append(xy, plotter.XY{X: x, Y: sum[x] / n[x]})
	}
	slices.SortFunc(xy, func(a, b plotter.XY) int {
		if a.X < b.X {
			return -1
		}
		return 1
	})
	return xy
}
