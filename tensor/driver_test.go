package tensor

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"testing"

	"github.com/hone-lm/hone/internal/rng"
	"github.com/hone-lm/hone/tensor/internal/par"
)

// opCase describes one operation to the driver.
type opCase struct {
	name string
	in   []dims
	// build runs the operation on rows lo and on of a batch: row inputs hold only these rows.
	build func(t *Tape, in []*Tensor, lo int) *Tensor
	ref   func(in [][]float64) []float64 // the same in plain float64
	loose float64                        // multiplies the tolerances; 0 = 1
	few   bool                           // the reference is slow: fewer finite differences
}

// dims is an input's shape; perRow marks inputs with one row for each row of the result.
type dims struct {
	rows, cols int
	perRow     bool
}

func randomTensor(key rng.Key, rows, cols int) *Tensor {
	p := NewParam(fmt.Sprintf("in%d", key.Uint64(1<<40)%100), rows, cols)
	for i := range p.Data {
		p.Data[i] = float32(key.Normal(uint64(i)))
	}
	return p
}

func wide(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}

func (c opCase) inputs(trained bool) []*Tensor {
	in := make([]*Tensor, len(c.in))
	for i, d := range c.in {
		in[i] = randomTensor(rng.New(7, c.name, uint64(i)), d.rows, d.cols)
		if trained {
			in[i].EnsureGrad()
		}
	}
	return in
}

// gradients runs forward and backward with seeds and returns the result; gradients are in the inputs.
func (c opCase) gradients(in []*Tensor, seeds []float64) []float32 {
	t := NewTape()
	y := c.build(t, in, 0)
	out := slices.Clone(y.Data)
	for i, g := range t.GradOf(y) {
		t.GradOf(y)[i] = g + float32(seeds[i])
	}
	t.Backward()
	return out
}

// run checks the operation against its reference, finite differences, itself with frozen inputs, neighbouring rows and other numbers of processors.
func (c opCase) run() error {
	if c.loose == 0 {
		c.loose = 1
	}
	in := c.inputs(true)
	wideIn := make([][]float64, len(in))
	for i, x := range in {
		wideIn[i] = wide(x.Data)
	}
	want := c.ref(wideIn)
	seeds := make([]float64, len(want))
	for i := range seeds {
		seeds[i] = float64(float32(rng.New(9, c.name).Normal(uint64(i))))
	}
	got := c.gradients(in, seeds)
	if err := near("forward", got, want, 2e-5*c.loose); err != nil {
		return err
	}
	if err := c.differences(in, wideIn, seeds); err != nil {
		return err
	}
	if err := c.frozen(in, seeds); err != nil {
		return err
	}
	if err := c.rowsAlone(in, got); err != nil {
		return err
	}
	return c.processors(in, seeds, got)
}

// near compares with a tolerance relative to the largest value.
func near(what string, got []float32, want []float64, tol float64) error {
	if len(got) != len(want) {
		return fmt.Errorf("%s: %d values, want %d", what, len(got), len(want))
	}
	top := 1e-3
	for _, w := range want {
		top = max(top, math.Abs(w))
	}
	for i, w := range want {
		if !(math.Abs(float64(got[i])-w) <= tol*top) {
			return fmt.Errorf("%s: value %d is %g, want %g (largest %g)", what, i, got[i], w, top)
		}
	}
	return nil
}

// differences compares the gradients of up to 48 values of each input with central differences of the float64 reference.
func (c opCase) differences(in []*Tensor, wideIn [][]float64, seeds []float64) error {
	loss := func() float64 {
		sum := 0.0
		for i, y := range c.ref(wideIn) {
			sum += seeds[i] * y
		}
		return sum
	}
	probes := 48
	if testing.Short() {
		probes = 6
	}
	if c.few {
		probes /= 4
	}
	for i, x := range in {
		var got []float32
		var want []float64
		key := rng.New(3, c.name, uint64(i))
		for n := range min(probes, len(x.Data)) {
			at := n
			if len(x.Data) > probes {
				at = key.Intn(uint64(n), len(x.Data))
			}
			const h = 1e-5
			keep := wideIn[i][at]
			wideIn[i][at] = keep + h
			up := loss()
			wideIn[i][at] = keep - h
			want = append(want, (up-loss())/(2*h))
			got = append(got, x.Grad[at])
			wideIn[i][at] = keep
		}
		if err := near(fmt.Sprintf("gradient of input %d", i), got, want, 1e-4*c.loose); err != nil {
			return err
		}
	}
	return nil
}

// frozen wants the same bytes for an input's gradient when all other inputs are frozen.
func (c opCase) frozen(in []*Tensor, seeds []float64) error {
	if testing.Short() && c.few {
		return nil
	}
	for i := range in {
		one := c.inputs(false)
		one[i].EnsureGrad()
		c.gradients(one, seeds)
		if err := same(fmt.Sprintf("gradient of input %d with the others frozen", i), one[i].Grad, in[i].Grad); err != nil {
			return err
		}
	}
	return nil
}

// rowsAlone wants the same bytes for a row whether it comes alone or in company.
func (c opCase) rowsAlone(in []*Tensor, all []float32) error {
	rows := 0
	for _, d := range c.in {
		if d.perRow {
			rows = d.rows
		}
	}
	for _, r := range []int{0, rows / 2, rows - 1} {
		if rows == 0 {
			break
		}
		part := make([]*Tensor, len(in))
		for i, x := range in {
			part[i] = x
			if c.in[i].perRow {
				part[i] = &Tensor{Rows: 1, Cols: x.Cols, Data: x.Row(r)}
			}
		}
		cols := len(all) / rows
		if err := same(fmt.Sprintf("row %d alone", r), c.build(NewTape(), part, r).Data, all[r*cols:(r+1)*cols]); err != nil {
			return err
		}
	}
	return nil
}

// processors wants the same bytes with one and with two processors.
func (c opCase) processors(in []*Tensor, seeds []float64, all []float32) error {
	old := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(old)
	for _, procs := range []int{1, 2, 3} {
		runtime.GOMAXPROCS(procs)
		again := c.inputs(true)
		if err := same(fmt.Sprintf("forward on %d processors", procs), c.gradients(again, seeds), all); err != nil {
			return err
		}
		for i := range in {
			if err := same(fmt.Sprintf("gradient of input %d on %d processors", i, procs), again[i].Grad, in[i].Grad); err != nil {
				return err
			}
		}
	}
	return nil
}

func same(what string, got, want []float32) error {
	if len(got) != len(want) {
		return fmt.Errorf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i := range got {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			return fmt.Errorf("%s: value %d is %g, want the bytes of %g", what, i, got[i], want[i])
		}
	}
	return nil
}

// TestDriverCatchesFaults plants faults that the driver has to find.
func TestDriverCatchesFaults(t *testing.T) {
	good := linearCase(17, 65, 33)
	spoil := func(change func(t *Tape, in []*Tensor, y *Tensor)) opCase {
		c := good
		c.build = func(t *Tape, in []*Tensor, lo int) *Tensor {
			y := good.build(t, in, lo)
			change(t, in, y)
			return y
		}
		return c
	}
	faults := map[string]opCase{
		"a forward value is off": spoil(func(_ *Tape, _ []*Tensor, y *Tensor) { y.Data[0] += 1e-3 }),
		"a gradient is off by a percent": spoil(func(t *Tape, _ []*Tensor, _ *Tensor) {
			if len(t.nodes) > 0 {
				t.nodes[len(t.nodes)-1].back = func(t *Tape, n *node) {
					for i := range n.out.Grad {
						n.out.Grad[i] *= 1.01
					}
					linearBack(t, n)
				}
			}
		}),
		"a row sees its neighbours": spoil(func(_ *Tape, in []*Tensor, y *Tensor) {
			y.Data[0] = math.Nextafter32(y.Data[0], float32(in[0].Rows))
		}),
		"the number of processors shows": spoil(func(_ *Tape, in []*Tensor, y *Tensor) {
			if runtime.GOMAXPROCS(0) == 3 && in[0].Rows > 1 {
				y.Data[0] = math.Nextafter32(y.Data[0], 100)
			}
		}),
	}
	if err := good.run(); err != nil {
		t.Fatal("without a fault: ", err)
	}
	for name, c := range faults {
		if err := c.run(); err == nil {
			t.Errorf("%s: not caught", name)
		} else {
			t.Logf("%s: %v", name, err)
		}
	}
}

// runCases drives the cases and checks that large ones really ran in parallel.
func runCases(t *testing.T, cases []opCase) {
	t.Helper()
	before := par.Sections()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if err := c.run(); err != nil {
				t.Error(err)
			}
		})
	}
	if par.Sections() == before {
		t.Error("no operation was split over processors: the comparison of processor counts says nothing")
	}
}
