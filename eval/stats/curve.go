package stats

import (
	"cmp"
	"math"
	"slices"
)

// Point is one point of a curve.
type Point struct{ X, Y float64 }

// Curve is a quantity against what was spent on it, accuracy against tokens or updates, by ascending X and linear between its points.
type Curve []Point

// NewCurve sorts points to a curve. Those that are not numbers are left out; of several at one X the last stays.
func NewCurve(points []Point) Curve {
	sorted := slices.DeleteFunc(slices.Clone(points), func(p Point) bool { return math.IsNaN(p.X) || math.IsNaN(p.Y) })
	slices.SortStableFunc(sorted, func(a, b Point) int { return cmp.Compare(a.X, b.X) })
	var c Curve
	for _, p := range sorted {
		if n := len(c); n > 0 && c[n-1].X == p.X {
			c = c[:n-1]
		}
		c = append(c, p)
	}
	return c
}

// At returns the curve's height at x, NaN outside its range.
func (c Curve) At(x float64) float64 {
	for i, p := range c {
		switch {
		case p.X == x:
			return p.Y
		case p.X > x && i > 0:
			return c[i-1].Y + (p.Y-c[i-1].Y)*(x-c[i-1].X)/(p.X-c[i-1].X)
		case p.X > x:
			return math.NaN()
		}
	}
	return math.NaN()
}

// Reaches returns the smallest x at which the curve is at least y high, NaN if it never is.
func (c Curve) Reaches(y float64) float64 {
	for i, p := range c {
		switch {
		case p.Y < y:
		case i == 0 || p.Y == c[i-1].Y:
			return p.X
		default:
			return c[i-1].X + (p.X-c[i-1].X)*(y-c[i-1].Y)/(p.Y-c[i-1].Y)
		}
	}
	return math.NaN()
}

// Mean returns the curve's mean height from one x to another, the area under it by its width; NaN where the curve does not cover them. A range
// without width has the height at its place.
func (c Curve) Mean(from, to float64) float64 {
	last := Point{from, c.At(from)}
	if from == to {
		return last.Y
	}
	area := 0.0
	step := func(p Point) {
		area += (p.X - last.X) * (p.Y + last.Y) / 2
		last = p
	}
	for _, p := range c {
		if p.X > from && p.X < to {
			step(p)
		}
	}
	step(Point{to, c.At(to)})
	return area / (to - from)
}

// AboveBy returns how much higher c is than o on average over the range that both cover, NaN where there is none.
func (c Curve) AboveBy(o Curve) float64 {
	if len(c) == 0 || len(o) == 0 {
		return math.NaN()
	}
	from, to := max(c[0].X, o[0].X), min(c[len(c)-1].X, o[len(o)-1].X)
	if from > to {
		return math.NaN()
	}
	return c.Mean(from, to) - o.Mean(from, to)
}
