// Package tensor holds what a transformer needs to be trained on a CPU: float32 arrays, reverse-mode autograd on a reusable tape, fused transformer operations, the vocabulary head, AdamW and learning-rate schedules.
//
// Everything is deterministic to the bit: a row's forward result depends neither on its neighbours nor on the number of rows, and nothing depends on GOMAXPROCS.
// Shapes are checked where an operation is recorded; a mismatch is an error of the program that builds the model, not of its input, and panics with both shapes.
package tensor

import "fmt"

// Tensor is a row-major matrix, Data[r*Cols+c]. A parameter (NewParam) lives outside a tape and keeps its gradient between steps; a tensor returned by an operation of a Tape belongs to that tape and is gone after its Reset.
type Tensor struct {
	Name       string
	Rows, Cols int
	Data       []float32 // [Rows][Cols]; nil on a dry tape, and once the tape has released it
	Grad       []float32 // [Rows][Cols]; of a parameter: nil means frozen. Of a tape's tensor: exists only while Backward needs it (see Tape.GradOf)

	Quant *Quantised // of a frozen parameter whose numbers stay quantised: Data is nil

	turned   bool  // Quant is [Cols][Rows]
	tape     *Tape // nil: a parameter
	need     bool  // a gradient flows through this tensor
	keep     int   // how many recorded operations read Data again in Backward
	data     span  // where Data lies in the tape's arena; n == 0 when released
	grad     span  // where Grad lies
	released bool  // the caller will not read Data again
	packed   *packed
}

// NewParam returns a zeroed parameter of the given shape, frozen until EnsureGrad.
func NewParam(name string, rows, cols int) *Tensor {
	if rows < 0 || cols < 0 {
		panic(fmt.Sprintf("tensor: parameter %q of shape [%d %d]", name, rows, cols))
	}
	return &Tensor{Name: name, Rows: rows, Cols: cols, Data: make([]float32, rows*cols)}
}

// EnsureGrad gives a parameter its gradient buffer (zeroed), which makes it trainable. An existing gradient stays. Quantised parameters cannot be trained.
func (p *Tensor) EnsureGrad() {
	if p.Quant != nil {
		panic(fmt.Sprintf("tensor: EnsureGrad: %s is quantised", p.shape()))
	}
	if p.Grad == nil {
		p.Grad = make([]float32, p.Rows*p.Cols)
	}
}

// ZeroGrad clears the gradient, if there is one.
func (p *Tensor) ZeroGrad() { clear(p.Grad) }

// Row returns row r of Data.
func (p *Tensor) Row(r int) []float32 { return p.Data[r*p.Cols : (r+1)*p.Cols : (r+1)*p.Cols] }

// wants reports whether Backward has to compute the gradient of p.
func (p *Tensor) wants() bool {
	if p == nil {
		return false
	}
	if p.tape == nil {
		return p.Grad != nil
	}
	return p.need
}

func (p *Tensor) shape() string {
	name := p.Name
	if name == "" {
		name = "tensor"
	}
	return fmt.Sprintf("%s [%d %d]", name, p.Rows, p.Cols)
}

// check panics unless p has the shape; a negative number matches anything.
func check(op, what string, p *Tensor, rows, cols int) {
	if p == nil {
		panic(fmt.Sprintf("tensor: %s: %s is nil", op, what))
	}
	if (rows >= 0 && p.Rows != rows) || (cols >= 0 && p.Cols != cols) {
		panic(fmt.Sprintf("tensor: %s: %s is %s, want [%d %d]", op, what, p.shape(), rows, cols))
	}
	if p.tape != nil && p.data.n == 0 {
		panic(fmt.Sprintf("tensor: %s: %s was released: it is read after Release, Backward or Reset", op, what))
	}
}
