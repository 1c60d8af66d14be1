package report

import (
	"fmt"
	"image/color"
	"io"
	"maps"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Panel is one chart of a picture: lines over a logarithmic axis, values as shares of 1.
type Panel struct {
	Title string
	X     string // name and unit of the axis
	Lines []PanelLine
}

// PanelLine is one line of a panel.
type PanelLine struct {
	Name string
	X, Y []float64
}

// curveInks are readable on light and on dark pages: the picture stands alone and has no page's colours.
var (
	curveText = color.RGBA{128, 128, 128, 255}
	curveInks = []color.RGBA{{47, 111, 204, 255}, {217, 119, 6, 255}, {22, 148, 94, 255}}
)

// WriteCurves writes panels, two in a row, as an SVG file.
func WriteCurves(w io.Writer, panels []Panel) error {
	const perRow = 2
	rows := (len(panels) + perRow - 1) / perRow
	if rows == 0 {
		return fmt.Errorf("a picture of no panels")
	}
	grid := make([][]*plot.Plot, rows)
	for i := range panels {
		p, err := newPanel(&panels[i])
		if err != nil {
			return fmt.Errorf("chart of %s: %w", panels[i].Title, err)
		}
		grid[i/perRow] = append(grid[i/perRow], p)
	}
	for len(grid[rows-1]) < perRow {
		grid[rows-1] = append(grid[rows-1], nil)
	}
	c := vgsvg.New(perRow*chartWidth, vg.Length(rows)*(chartHeight+40))
	tiles := draw.Tiles{Rows: rows, Cols: perRow, PadX: 20, PadY: 20, PadTop: 5, PadBottom: 5, PadLeft: 5, PadRight: 5}
	for r, canvases := range plot.Align(grid, tiles, draw.New(c)) {
		for k, canvas := range canvases {
			if grid[r][k] != nil {
				grid[r][k].Draw(canvas)
			}
		}
	}
	_, err := c.WriteTo(w)
	return err
}

func newPanel(panel *Panel) (*plot.Plot, error) {
	p := plot.New()
	p.BackgroundColor = nil
	p.Title.Text, p.X.Label.Text = panel.Title, panel.X
	p.X.Scale = plot.LogScale{}
	for _, s := range []*draw.TextStyle{&p.Title.TextStyle, &p.X.Label.TextStyle, &p.X.Tick.Label, &p.Y.Tick.Label, &p.Legend.TextStyle} {
		s.Color, s.Font.Size, s.Font.Variant = curveText, 10, "Sans"
	}
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.LineStyle.Color, a.Tick.LineStyle.Color = curveText, curveText
	}
	p.Y.Min, p.Y.Max = 0, 1
	p.Y.Tick.Marker = ticks{format: func(v float64) string { return fmt.Sprintf("%.4g %%", 100*v) }}
	grid := plotter.NewGrid()
	grid.Vertical.Width = 0
	grid.Horizontal = draw.LineStyle{Color: color.RGBA{128, 128, 128, 255}, Width: 0.3}
	p.Add(grid)
	at := map[float64]bool{}
	for i, l := range panel.Lines {
		points := make(plotter.XYs, len(l.X))
		for k, x := range l.X {
			if !(x > 0) || math.IsNaN(l.Y[k]) || math.IsInf(l.Y[k], 0) {
				return nil, fmt.Errorf("%s has the point %g, %g", l.Name, x, l.Y[k])
			}
			points[k] = plotter.XY{X: x, Y: l.Y[k]}
			at[x] = true
		}
		line, dots, err := plotter.NewLinePoints(points)
		if err != nil {
			return nil, err
		}
		ink := curveInks[i%len(curveInks)]
		line.LineStyle = draw.LineStyle{Color: ink, Width: 1.8}
		dots.GlyphStyle = draw.GlyphStyle{Color: ink, Radius: vg.Points(2.6), Shape: draw.CircleGlyph{}}
		p.Add(line, dots)
		p.Legend.Add(l.Name, line, dots)
	}
	p.X.Tick.Marker = measuredAt(at)
	p.Legend.Top = true
	return p, nil
}

// measuredAt puts a tick where something was measured.
type measuredAt map[float64]bool

// Ticks implements plot.Ticker.
func (m measuredAt) Ticks(low, high float64) []plot.Tick {
	var out []plot.Tick
	for _, x := range slices.Sorted(maps.Keys(m)) {
		if x >= low && x <= high {
			out = append(out, plot.Tick{Value: x, Label: compact(x)})
		}
	}
	return out
}
