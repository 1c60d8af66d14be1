package local

import (
	"fmt"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/tensor"
)

// rowTerms shows row terms the logits that they ask for. It implements tensor.Terms for one micro-batch.
type rowTerms struct {
	seqs     []*engine.Sequence
	micro    []int
	lay      *layout
	rows     *headRows
	bound    []boundTerm
	teachers []teacher
}

// boundTerm is one row term with where its values go and its derivatives come from.
type boundTerm struct {
	term    engine.RowTerm
	column  *termColumn // [token of the micro-batch]
	want    []bool      // [head row] whose value is wanted
	teacher int         // of teachers; -1 = none
}

// teacher is a frozen model's forward pass over the same micro-batch.
type teacher struct {
	r      *runner
	hidden *tensor.Tensor
	head   tensor.Head

	lo     int // entry that logits and stats begin with
	logits []float32
	stats  []tensor.Stats
}

// teacherOf returns the runner of a term's frozen model, nil for terms without one; r is who calls the term.
func teacherOf(term engine.RowTerm, r *runner) (*runner, error) {
	t, ok := term.(engine.Taught)
	if !ok {
		return nil, nil
	}
	f, ok := t.Teacher().(*Frozen)
	if !ok || f == nil || f.mu != r.mu {
		return nil, fmt.Errorf("row term %s: its teacher is no frozen model of this engine: give it one that this engine's Freeze or Open returned", term.Name())
	}
	return f.runner, nil
}

// begin forgets the terms of the last micro-batch.
func (x *rowTerms) begin(seqs []*engine.Sequence, micro []int, lay *layout, rows *headRows) {
	x.seqs, x.micro, x.lay, x.rows = seqs, micro, lay, rows
	x.bound = x.bound[:0]
	for i := range x.teachers {
		x.teachers[i].r, x.teachers[i].hidden = nil, nil
	}
}

// bind adds a term; want says which head rows have a value. hidden is the forward pass of r, in case that it is its own teacher.
func (x *rowTerms) bind(term engine.RowTerm, column *termColumn, r *runner, hidden *tensor.Tensor, want func(k int) bool) error {
	t, err := teacherOf(term, r)
	if err != nil {
		return err
	}
	n := len(x.bound)
	if cap(x.bound) == n {
		x.bound = append(x.bound, boundTerm{})
	}
	x.bound = x.bound[:n+1]
	b := &x.bound[n]
	b.term, b.column, b.teacher, b.want = term, column, -1, b.want[:0]
	for k := range x.rows.Row {
		b.want = append(b.want, want(k))
	}
	if t != nil {
		b.teacher = x.teach(t, r, hidden)
	}
	return nil
}

// teach runs a teacher over the micro-batch, once for all terms that name it, and returns its place.
func (x *rowTerms) teach(t, r *runner, hidden *tensor.Tensor) int {
	free := len(x.teachers)
	for i := range x.teachers {
		switch x.teachers[i].r {
		case t:
			return i
		case nil:
			free = min(free, i)
		}
	}
	if free == len(x.teachers) {
		x.teachers = append(x.teachers, teacher{})
	}
	k := &x.teachers[free]
	k.r, k.hidden, k.head.W = t, hidden, t.m.HeadWeight()
	if t != r {
		k.hidden = t.hidden(x.seqs, x.micro)
	}
	return free
}

// Chunk implements tensor.Terms: teachers compute the same rows.
func (x *rowTerms) Chunk(lo, hi int) {
	for i := range x.teachers {
		if t := &x.teachers[i]; t.r != nil {
			t.lo = lo
			t.logits, t.stats = t.head.Tempered(t.hidden, x.rows.HeadRows, lo, hi)
		}
	}
}

// Read implements tensor.Terms.
func (x *rowTerms) Read(i int, logits []float32, s tensor.Stats) {
	for k := range x.bound {
		if b := &x.bound[k]; b.want[i] {
			b.column.value[x.at(i)] = b.term.Value(x.row(b, i, logits, s))
		}
	}
}

// Add implements tensor.Terms.
func (x *rowTerms) Add(i int, logits []float32, s tensor.Stats, d []float32) bool {
	added := false
	for k := range x.bound {
		b := &x.bound[k]
		if w := float32(b.column.d[x.at(i)]); w != 0 {
			b.term.Grad(x.row(b, i, logits, s), w, d)
			added = true
		}
	}
	return added
}

// at returns the place of head row i in the columns.
func (x *rowTerms) at(i int) int { return x.lay.seqs[x.rows.seq[i]].base + x.rows.tok[i] }

func (x *rowTerms) row(b *boundTerm, i int, logits []float32, s tensor.Stats) engine.LogitRow {
	row := engine.LogitRow{Seq: x.seqs[x.micro[x.rows.seq[i]]], T: x.rows.tok[i], Logits: logits, LSE: s.LSE}
	if b.teacher >= 0 {
		t := &x.teachers[b.teacher]
		k, v := i-t.lo, len(logits)
		row.Teacher, row.TeacherLSE = t.logits[k*v:(k+1)*v:(k+1)*v], t.stats[k].LSE
	}
	return row
}

// check stops at the first value of head rows [lo, hi) that is not a number.
func (x *rowTerms) check(lo, hi int) error {
	for k := range x.bound {
		b := &x.bound[k]
		for i := lo; i < hi; i++ {
			if v := b.column.value[x.at(i)]; b.want[i] && v-v != 0 {
				return fmt.Errorf("sequence %s: row term %s is %g at token %d: nothing was updated", name(x.seqs[x.micro[x.rows.seq[i]]]), b.term.Name(), v, x.rows.tok[i])
			}
		}
	}
	return nil
}

// bindTerms binds the terms of the pass's streams to the micro-batch that was just forwarded. Values of batch-scope streams are read when
// the step is scored, those of others when it is differentiated.
func (p *pass) bindTerms(micro []int, scoring bool, hidden *tensor.Tensor) error {
	w := &p.e.work
	w.terms.begin(p.seqs, micro, &p.e.lay, &w.rows)
	w.rows.Terms = nil
	for i := range p.needs {
		if p.needs[i].Term == nil || scoring && !p.batchScope(i) || !p.present(i, micro) {
			continue
		}
		rows := p.b.Streams[i].Rows
		err := w.terms.bind(p.needs[i].Term, &w.term[i], p.e.live, hidden, func(k int) bool {
			for _, at := range p.rowsOf[micro[w.rows.seq[k]]] {
				if at.stream == i && rows[at.row].Mask[w.rows.tok[k]] {
					return scoring == p.batchScope(i)
				}
			}
			return false
		})
		if err != nil {
			return err
		}
		w.rows.Terms = &w.terms
	}
	return nil
}

// present reports whether a stream has a row in the micro-batch: otherwise its teacher need not run.
func (p *pass) present(stream int, micro []int) bool {
	for _, seq := range micro {
		for _, at := range p.rowsOf[seq] {
			if at.stream == stream {
				return true
			}
		}
	}
	return false
}
