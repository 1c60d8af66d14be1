package local

import (
	"context"
	"fmt"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/model"
	"github.com/hone-lm/hone/tensor"
	"github.com/hone-lm/hone/token"
)

// runner scores and samples one model without gradients. The engine's live model and every frozen one have their own.
type runner struct {
	m    *model.Model
	opt  Options
	tok  token.Tokenizer
	mu   *guard
	tape *tensor.Tape
	head tensor.Head
	in   model.Input
	lay  layout // of in when it is a micro-batch

	batch *batch
	terms rowTerms // of Score

	reserved int // rows of a pass for which the tape has room
}

func newRunner(m *model.Model, opt Options, tok token.Tokenizer, mu *guard) *runner {
	r := &runner{m: m, opt: opt, tok: tok, mu: mu, tape: tensor.NewTape()}
	r.tape.BF16(opt.bf16())
	r.head.BF16 = opt.bf16()
	r.batch = newBatch(r)
	return r
}

// input returns the empty input of a pass over the cache.
func (r *runner) input() *model.Input {
	in := &r.in
	in.Tokens, in.Rows, in.Pos, in.Docs, in.KV = in.Tokens[:0], in.Rows[:0], nil, nil, r.batch.pages.kv
	return in
}

// forget drops what the cache holds and the rounded copies of weights: they have changed.
func (r *runner) forget() {
	r.batch.pages.forget()
	r.m.StaleBF16()
}

// pack gets the rounded copies of weights ready that few rows want: with many, rounding costs little beside the product.
func (r *runner) pack() {
	if r.opt.bf16() {
		r.m.PackBF16()
	}
}

// prepare makes the tape ready for one forward pass over so many rows without recording. Room is made in one piece: the tensors of a first pass
// without it would lie aside, those of all layers at once.
func (r *runner) prepare(rows int) *tensor.Tape {
	if rows > r.reserved {
		r.reserved = rows
		piece := r.piece(rows)
		r.tape.Plan(func(t *tensor.Tape) { t.Record(false); r.m.Forward(t, piece) })
	}
	r.tape.Reset()
	r.tape.Record(false)
	r.head.W = r.m.HeadWeight()
	return r.tape
}

// plannedDoc is the length of the documents that are planned with: short ones, since attention gives each pages of its own, and a plan that is
// exceeded by little costs a second tape.
const plannedDoc = 16

// piece is an input of so many rows, to plan with.
func (r *runner) piece(rows int) *model.Input {
	in, one := &model.Input{Tokens: make([]int32, rows)}, min(plannedDoc, r.opt.Context)
	for from := 0; from < rows; from += one {
		in.Docs = append(in.Docs, tensor.Doc{From: from, To: min(from+one, rows)})
	}
	return in
}

// check refuses what the engine cannot run, before any work.
func (r *runner) check(s *engine.Sequence) error {
	if err := supported(s); err != nil {
		return err
	}
	if len(s.Tokens) > r.opt.Context {
		return fmt.Errorf("sequence %s has %d tokens but the context is %d: truncate it, or raise context up to the model's %d", name(s), len(s.Tokens), r.opt.Context, r.m.Config.MaxPos)
	}
	if err := r.m.Check(s.Tokens); err != nil {
		return fmt.Errorf("sequence %s: %w", name(s), err)
	}
	return nil
}

func supported(s *engine.Sequence) error {
	switch {
	case s.Hide != nil || s.Pos != nil:
		return &engine.NotYet{Engine: "local", What: engine.CapHide}
	case s.Mix != nil:
		return &engine.NotYet{Engine: "local", What: engine.CapMix}
	case s.Kind != nil && len(s.Kind) != len(s.Tokens):
		return fmt.Errorf("sequence %s has %d tokens and %d kinds: give one a token, or none", name(s), len(s.Tokens), len(s.Kind))
	case s.Temp != 0 && !(s.Temp >= MinTemperature && s.Temp <= 1e6):
		return fmt.Errorf("sequence %s has temperature %g: give %g to 1e6, or 0 for 1", name(s), s.Temp, MinTemperature)
	}
	return nil
}

func name(s *engine.Sequence) string { return s.Label() }

// Score runs the sequences in micro-batches.
func (r *runner) Score(ctx context.Context, seqs []*engine.Sequence, want engine.Want) ([]*engine.Scores, error) {
	info := engine.Info{Engine: "local", Caps: caps}
	if err := info.Check("Score", want.Capabilities()); err != nil {
		return nil, err
	}
	for _, s := range seqs {
		if err := r.check(s); err != nil {
			return nil, err
		}
	}
	if want.TopK < 0 || want.TopK > r.m.Config.Vocab {
		return nil, fmt.Errorf("score: top-k of %d from a vocabulary of %d ids: ask for fewer", want.TopK, r.m.Config.Vocab)
	}
	for _, t := range []float32{want.Temp, want.EntropyTemp} {
		if t != 0 && !(t >= MinTemperature && t <= 1e6) {
			return nil, fmt.Errorf("score: temperature %g: give %g to 1e6, or 0 for the sequence's own", t, MinTemperature)
		}
	}
	if err := r.checkTerm(seqs, want.Term); err != nil {
		return nil, err
	}
	if err := r.mu.enter(); err != nil {
		return nil, err
	}
	defer r.mu.Unlock()
	return r.score(ctx, seqs, want)
}

// score runs checked sequences; the caller holds the lock.
func (r *runner) score(ctx context.Context, seqs []*engine.Sequence, want engine.Want) ([]*engine.Scores, error) {
	out := make([]*engine.Scores, len(seqs))
	for _, micro := range pack(seqs, r.opt) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := r.scoreMicro(seqs, micro, want, out); err != nil {
			return nil, err
		}
		for _, at := range micro {
			for t, lp := range out[at].LogProb {
				if lp-lp != 0 {
					return nil, fmt.Errorf("sequence %s: the log-prob of token %d is %g: the model's weights are not finite; go back to an earlier checkpoint", name(seqs[at]), t, lp)
				}
			}
		}
	}
	return out, nil
}

// checkTerm refuses a row term whose teacher cannot run the sequences.
func (r *runner) checkTerm(seqs []*engine.Sequence, term engine.RowTerm) error {
	if term == nil {
		return nil
	}
	teacher, err := teacherOf(term, r)
	if err != nil || teacher == nil {
		return err
	}
	for _, s := range seqs {
		if err := teacher.check(s); err != nil {
			return fmt.Errorf("row term %s: its teacher: %w", term.Name(), err)
		}
	}
	return nil
}

// hidden runs the model over a micro-batch and returns the hidden states after the final norm, which lie on the runner's tape.
func (r *runner) hidden(seqs []*engine.Sequence, micro []int) *tensor.Tensor {
	r.lay.fill(&r.in, seqs, micro, r.opt.SharePrompts)
	return r.m.Forward(r.prepare(len(r.in.Tokens)), &r.in)
}

func (r *runner) scoreMicro(seqs []*engine.Sequence, micro []int, want engine.Want, out []*engine.Scores) error {
	hidden := r.hidden(seqs, micro)
	var rows headRows
	for i, at := range micro {
		s := seqs[at]
		for tok := 1; tok < len(s.Tokens); tok++ {
			temp := s.Temperature()
			if want.Temp != 0 {
				temp = want.Temp
			}
			rows.add(i, tok, r.lay.seqs[i].row(tok-1), s.Tokens[tok], temp)
		}
	}
	n := len(rows.Row)
	sc := tensor.HeadScores{LogProb: make([]float32, n), Entropy: make([]float32, n), TopK: want.TopK}
	if want.TopK > 0 {
		sc.TopID, sc.TopLogProb = make([]int32, n*want.TopK), make([]float32, n*want.TopK)
	}
	var term termColumn
	if want.Term != nil {
		term.value = make([]float32, r.lay.tokens)
		r.terms.begin(seqs, micro, &r.lay, &rows)
		if err := r.terms.bind(want.Term, &term, r, hidden, func(int) bool { return true }); err != nil {
			return err
		}
		rows.Terms = &r.terms
	}
	r.head.Score(hidden, rows.HeadRows, &sc)
	if want.Entropy && want.EntropyTemp != 0 { // at another temperature: a pass of its own
		rows.Terms = nil
		for k := range rows.Temp {
			rows.Temp[k] = want.EntropyTemp
		}
		r.head.Score(hidden, rows.HeadRows, &tensor.HeadScores{Entropy: sc.Entropy})
	}
	var values []float32 // [row]
	if v := r.m.ValueHead(); v != nil && want.Value {
		values = make([]float32, hidden.Rows)
		v.Score(hidden, values)
	}
	for i, at := range micro {
		l := &r.lay.seqs[i]
		out[at] = scoresOf(hidden, values, l, want)
		if want.Term != nil {
			out[at].Term = term.value[l.base : l.base+l.n]
		}
	}
	for k := range n {
		o, tok := out[micro[rows.seq[k]]], rows.tok[k]
		o.LogProb[tok] = sc.LogProb[k]
		if want.Entropy {
			o.Entropy[tok] = sc.Entropy[k]
		}
		if want.TopK > 0 {
			o.TopID[tok] = sc.TopID[k*want.TopK : (k+1)*want.TopK]
			o.TopLogP[tok] = sc.TopLogProb[k*want.TopK : (k+1)*want.TopK]
		}
	}
	return nil
}

// scoresOf makes the scores of one sequence, with what comes from hidden states and their values alone.
func scoresOf(hidden *tensor.Tensor, values []float32, l *laid, want engine.Want) *engine.Scores {
	n := l.n
	s := &engine.Scores{LogProb: make([]float32, n)}
	if want.Entropy {
		s.Entropy = make([]float32, n)
	}
	if want.TopK > 0 {
		s.TopID, s.TopLogP = make([][]int32, n), make([][]float32, n)
	}
	if want.Hidden {
		s.Hidden = make([][]float32, n)
		for t := range s.Hidden {
			s.Hidden[t] = append([]float32(nil), hidden.Row(int(l.row(t)))...)
		}
	}
	if want.Value {
		s.Value = make([]float32, n)
		if values != nil && n > 0 { // token t has the value of the hidden state before it
			for t := 1; t < n; t++ {
				s.Value[t] = values[l.row(t-1)]
			}
			s.LastValue = values[l.row(n-1)]
		}
	}
	return s
}

// headRows are the rows asked of the vocabulary head, with where each came from: sequence number in the micro-batch and token.
type headRows struct {
	tensor.HeadRows
	seq, tok []int
}

func (h *headRows) reset() {
	h.Row, h.Target, h.Temp, h.seq, h.tok = h.Row[:0], h.Target[:0], h.Temp[:0], h.seq[:0], h.tok[:0]
}

func (h *headRows) add(seq, tok int, row, target int32, temp float32) {
	h.Row, h.Target, h.Temp = append(h.Row, row), append(h.Target, target), append(h.Temp, temp)
	h.seq, h.tok = append(h.seq, seq), append(h.tok, tok)
}
