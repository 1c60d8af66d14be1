// Package trainers reads the losses of other trainers (TRL, verl, the Tinker API) as streams over hone's objectives: which objective with
// which settings, which normaliser, which tokens. It holds no formula of a loss: engine.Normalise and the objectives do the arithmetic, as in
// a run, on float64 columns.
package trainers

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/hone-lm/hone/engine"
)

// UnsupportedError names a loss, estimator or mode that is not built.
type UnsupportedError struct{ Name string }

func (e *UnsupportedError) Error() string { return e.Name + " is not built" }

// Matrix is [row][token], all rows of one width.
type Matrix [][]float64

// UnmarshalJSON refuses null and rows of different widths.
func (m *Matrix) UnmarshalJSON(data []byte) error {
	rows, err := table[float64](data, "numbers")
	*m = rows
	return err
}

// table reads a list of equally long lists of T, of which none may be null.
func table[T any](data []byte, what string) ([][]T, error) {
	var raw [][]*T
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, fmt.Errorf("expected a list of lists of %s, one list a row", what)
	}
	out := make([][]T, len(raw))
	for i, r := range raw {
		if r == nil || len(r) != len(raw[0]) {
			return nil, fmt.Errorf("row %d has %d entries and row 0 has %d: pad rows to one width", i, len(r), len(raw[0]))
		}
		out[i] = make([]T, len(r))
		for t, x := range r {
			if x == nil {
				return nil, fmt.Errorf("[%d][%d] is null: expected %s", i, t, what)
			}
			out[i][t] = *x
		}
	}
	return out, nil
}

// List is a list of numbers.
type List []float64

// UnmarshalJSON refuses null, which encoding/json would read as 0.
func (l *List) UnmarshalJSON(data []byte) error {
	var m Matrix
	if err := m.UnmarshalJSON(append(append([]byte{'['}, data...), ']')); err != nil {
		return errors.New("expected a list of numbers")
	}
	*l = m[0]
	return nil
}

// Mask is [row][token]: the tokens that count.
type Mask [][]bool

// UnmarshalJSON reads 0 and 1, or false and true.
func (m *Mask) UnmarshalJSON(data []byte) error {
	if rows, err := table[bool](data, "truth values"); err == nil {
		*m = rows
		return nil
	}
	var x Matrix
	if err := x.UnmarshalJSON(data); err != nil {
		return err
	}
	*m = make(Mask, len(x))
	for i, r := range x {
		(*m)[i] = make([]bool, len(r))
		for t, v := range r {
			if v != 0 && v != 1 {
				return fmt.Errorf("[%d][%d] is %g: a mask holds 0 and 1", i, t, v)
			}
			(*m)[i][t] = v == 1
		}
	}
	return nil
}

// counts returns the number of tokens in each row's mask and the number of rows that have any.
func (m Mask) counts() (tokens []int, filled int) {
	tokens = make([]int, len(m))
	for i, r := range m {
		for _, in := range r {
			if in {
				tokens[i]++
			}
		}
		if tokens[i] > 0 {
			filled++
		}
	}
	return tokens, filled
}

// batch is a padded batch as sequences with one token in front, which nothing predicts: entry t of a row is token t+1.
type batch struct {
	mask Mask
	seqs []*engine.Sequence
	cols []columns
}

// columns are a sequence's columns, [token].
type columns struct {
	logProb, value   []float32
	dLogProb, dValue []float64
	wide             engine.Wide
}

// channel is the name under which a matrix is known to objectives.
type channel struct {
	name   string
	values Matrix
}

// logProb, value and weight name the matrices that are columns of a view and no channels.
const (
	logProb = "log_prob"
	value   = "value"
	weight  = "weight"
)

func newBatch(mask Mask, matrices ...channel) (*batch, error) {
	b := &batch{mask: mask}
	for i := range mask {
		n := len(mask[i]) + 1
		s := &engine.Sequence{ID: engine.ItemID{Problem: "row", Sample: i}, Tokens: make([]int32, n)}
		c := columns{logProb: make([]float32, n), value: make([]float32, n), dLogProb: make([]float64, n), dValue: make([]float64, n)}
		c.wide.Chan = map[string][]float64{}
		for _, m := range matrices {
			if len(m.values) != len(mask) || len(m.values[i]) != len(mask[i]) {
				return nil, fmt.Errorf("%s and the mask differ in shape: give both one entry for each token of each row", m.name)
			}
			wide, narrow := make([]float64, n), make([]float32, n)
			copy(wide[1:], m.values[i])
			for t, x := range wide {
				narrow[t] = float32(x)
			}
			switch m.name {
			case logProb:
				c.wide.LogProb, c.logProb = wide, narrow
			case value:
				c.wide.Value, c.value = wide, narrow
			case weight:
				c.wide.Weight = wide
			default:
				c.wide.Chan[m.name] = wide
				s.SetChannel(m.name, narrow)
			}
		}
		b.seqs, b.cols = append(b.seqs, s), append(b.cols, c)
	}
	return b, nil
}

// rows returns one row a sequence; weights is nil or [row].
func (b *batch) rows(mask Mask, weights []float32) []engine.Row {
	var out []engine.Row
	for i, s := range b.seqs {
		r := engine.Row{Seq: s, Mask: append([]bool{false}, mask[i]...)}
		if weights != nil {
			r.Weight = make([]float32, len(r.Mask))
			for t := range r.Weight {
				r.Weight[t] = weights[i]
			}
		}
		out = append(out, r)
	}
	return out
}

// result is the loss with its derivatives, [row][token].
type result struct {
	loss             float64
	dLogProb, dValue [][]float64
	tokenLoss        [][]float64 // of objectives of token scope
	tally            engine.Tally
}

// every objective may run here.
var caps = engine.Capabilities{engine.CapValue: true, engine.CapEntropy: true, engine.CapBatchScope: true}

// eval normalises the streams and evaluates each at its objective's scope, as an engine does.
func (b *batch) eval(streams ...engine.Stream) (*result, error) {
	step, err := engine.Normalise(streams)
	if err != nil {
		return nil, err
	}
	if err := step.Check(engine.Info{Engine: "padded batch", Caps: caps}); err != nil {
		return nil, err
	}
	number := map[*engine.Sequence]int{}
	res := &result{}
	for i, s := range b.seqs {
		number[s] = i
		res.tokenLoss = append(res.tokenLoss, make([]float64, len(s.Tokens)-1))
	}
	for i := range step.Streams {
		s := &step.Streams[i]
		var views []engine.View
		for k := range s.Rows {
			at := number[s.Rows[k].Seq]
			v := b.view(&s.Rows[k], at)
			switch s.Obj.Scope() {
			case engine.ScopeToken:
				for t := 1; t < v.To; t++ {
					l := s.Obj.Eval([]engine.View{part(v, t, t+1)}, &res.tally)
					res.tokenLoss[at][t-1] += l
					res.loss += l
				}
			case engine.ScopeSequence:
				res.loss += s.Obj.Eval([]engine.View{v}, &res.tally)
			default:
				views = append(views, v)
			}
		}
		if len(views) > 0 {
			res.loss += s.Obj.Eval(views, &res.tally)
		}
	}
	for i := range b.cols {
		res.dLogProb, res.dValue = append(res.dLogProb, b.cols[i].dLogProb[1:]), append(res.dValue, b.cols[i].dValue[1:])
	}
	return res, nil
}

func (b *batch) view(r *engine.Row, at int) engine.View {
	c := &b.cols[at]
	return engine.View{Row: r, To: len(r.Seq.Tokens), LogProb: c.logProb, Value: c.value, DLogProb: c.dLogProb, DValue: c.dValue, Wide: &c.wide}
}

// part shows tokens [from, to) of a whole view.
func part(v engine.View, from, to int) engine.View {
	v.From, v.To = from, to
	v.LogProb, v.Value, v.DLogProb, v.DValue = v.LogProb[from:to], v.Value[from:to], v.DLogProb[from:to], v.DValue[from:to]
	return v
}
