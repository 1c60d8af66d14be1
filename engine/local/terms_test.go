package local

import (
	"math"
	"strings"
	"testing"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/model"
	"github.com/hone-lm/hone/objective"
)

// heated is log softmax(z / Tau) of the token itself: the log-prob under a teacher at another temperature.
type heated struct{ tau float64 }

func (heated) Name() string { return "heated" }
func (h heated) Value(row engine.LogitRow) float32 {
	sum := 0.0
	for _, z := range row.Logits {
		sum += math.Exp(float64(z) / h.tau)
	}
	return float32(float64(row.Logits[row.Seq.Tokens[row.T]])/h.tau - math.Log(sum))
}
func (heated) Grad(engine.LogitRow, float32, []float32) {}

// keeper copies rows away: how a method gets at whole distributions.
type keeper struct {
	rows map[*engine.Sequence][][]float32
}

func (keeper) Name() string { return "keeper" }
func (k keeper) Value(row engine.LogitRow) float32 {
	lp := make([]float32, len(row.Logits))
	for i, z := range row.Logits {
		lp[i] = z - row.LSE
	}
	k.rows[row.Seq][row.T] = lp
	return float32(row.T)
}
func (keeper) Grad(engine.LogitRow, float32, []float32) {}

func sequences(rows []engine.Row) []*engine.Sequence {
	var out []*engine.Sequence
	for _, r := range rows {
		out = append(out, r.Seq)
	}
	return out
}

// The entropy by way of whole rows is the built-in one: in Score, as a loss and in its gradient.
func TestEntropyTerm(t *testing.T) {
	e := open(t, loud(t, model.Qwen3, false), Options{MicroTokens: 70})
	rows := returnRows(5)
	scores, err := e.Score(ctx, sequences(rows), engine.Want{Entropy: true, Term: objective.EntropyTerm{}})
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range scores {
		for k := range s.Term {
			if math.Abs(float64(s.Term[k]-s.Entropy[k])) > 2e-5 || k > 0 && s.Term[k] == 0 {
				t.Fatalf("sequence %d token %d: entropy %g, by its row %g", i, k, s.Entropy[k], s.Term[k])
			}
		}
	}
	bonus, loss := gradientOf(t, e, normalised(t, engine.Stream{Name: "entropy", Obj: objective.EntropyBonus{}, Rows: rows}))
	term, same := gradientOf(t, e, normalised(t, engine.Stream{Name: "entropy", Obj: objective.TermLoss{Term: objective.EntropyTerm{}}, Coef: -1, Rows: rows}))
	if d := distance(flat(bonus), flat(term)); d > 1e-5 || d == 0 || math.Abs(loss-same) > 1e-5 {
		t.Errorf("gradients differ by %g, losses are %g and %g", d, loss, same)
	}
}

// Gradients of functions of whole rows, with and without a teacher, are those of differences through the whole engine.
func TestTermGradients(t *testing.T) {
	e := open(t, loud(t, model.Llama, true), Options{MicroTokens: 40})
	teacher, err := e.Freeze(ctx, "teacher")
	if err != nil {
		t.Fatal(err)
	}
	louder(e, 1.5)
	for _, term := range []engine.RowTerm{objective.CollisionTerm{}, objective.KLTerm{Frozen: teacher}, objective.KLTerm{Frozen: teacher, Forward: true, Temp: 1.3}} {
		if testing.Short() && term.Name() == "kl_reverse" {
			continue
		}
		b := normalised(t, engine.Stream{Name: term.Name(), Obj: objective.TermLoss{Term: term}, Rows: returnRows(3)})
		if n := differences(t, e, b); n < 10 {
			t.Errorf("%s: only %d tensors measured", term.Name(), n)
		}
	}
}

// The divergence from a teacher is the one computed from both models' kept rows; from itself it is exactly 0, with no gradient; a teacher may
// have another shape, and score by itself.
func TestTeacher(t *testing.T) {
	e := open(t, loud(t, model.Llama, false), Options{MicroTokens: 50})
	other, err := model.New(model.Config{Family: model.GPT2, Vocab: 97, Hidden: 32, Inner: 64, Layers: 1, Heads: 2, KVHeads: 2, HeadDim: 16, MaxPos: 40, NormEps: 1e-5, Tied: true}, 5)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range other.Weights() {
		if p.Decay {
			for i := range p.Data {
				p.Data[i] *= 9
			}
		}
	}
	same, err := e.Freeze(ctx, "same")
	if err != nil {
		t.Fatal(err)
	}
	small := e.keep("small", other)
	rows := returnRows(3)
	seqs := sequences(rows)
	keep := func(f interface {
		Score([]*engine.Sequence, engine.Want) ([]*engine.Scores, error)
	}) map[*engine.Sequence][][]float32 {
		k := keeper{map[*engine.Sequence][][]float32{}}
		for _, s := range seqs {
			k.rows[s] = make([][]float32, len(s.Tokens))
		}
		if _, err := f.Score(seqs, engine.Want{Term: k}); err != nil {
			t.Fatal(err)
		}
		return k.rows
	}
	p, q := keep(scorer{e.live}), keep(scorer{small.runner})
	for _, forward := range []bool{false, true} {
		scores, err := e.Score(ctx, seqs, engine.Want{Term: objective.KLTerm{Frozen: small, Forward: forward}})
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range seqs {
			for k := 1; k < len(s.Tokens); k++ {
				want := 0.0
				for n := range p[s][k] {
					lp, lq := float64(p[s][k][n]), float64(q[s][k][n])
					if forward {
						lp, lq = lq, lp
					}
					want += math.Exp(lp) * (lp - lq)
				}
				if got := float64(scores[i].Term[k]); math.Abs(got-want) > 1e-4 || want < 0.01 {
					t.Fatalf("forward %v: sequence %d token %d: %g, want %g", forward, i, k, got, want)
				}
			}
		}
	}
	for _, f := range []engine.Frozen{same, small} {
		scores, err := f.Score(ctx, seqs, engine.Want{Term: objective.KLTerm{Frozen: f}}) // its own teacher
		if err != nil {
			t.Fatal(err)
		}
		for k, x := range scores[2].Term {
			if x != 0 {
				t.Fatalf("a model diverges from itself by %g at token %d", x, k)
			}
		}
	}
	self, loss := gradientOf(t, e, normalised(t, engine.Stream{Name: "kl", Obj: objective.TermLoss{Term: objective.KLTerm{Frozen: same}}, Rows: rows}))
	if loss != 0 || distance(flat(self), flat(self)) != math.Inf(1) {
		t.Errorf("the divergence from an equal model is %g, with a gradient", loss)
	}
	if _, err := e.Score(ctx, []*engine.Sequence{prompt(1, 50)}, engine.Want{Term: objective.KLTerm{Frozen: small}}); err == nil || !strings.Contains(err.Error(), "teacher") {
		t.Errorf("a sequence longer than the teacher's context: %v", err)
	}
	long := normalised(t, engine.Stream{Name: "kl", Obj: objective.TermLoss{Term: objective.KLTerm{Frozen: small}}, Rows: []engine.Row{fullRow(prompt(1, 50))}})
	if _, err := e.Backward(ctx, long); err == nil || !strings.Contains(err.Error(), "teacher") {
		t.Errorf("a row longer than the teacher's context: %v", err)
	}
	stranger := open(t, loud(t, model.Llama, false), Options{})
	for _, f := range []engine.Frozen{same, nil} {
		if _, err := stranger.Score(ctx, seqs, engine.Want{Term: objective.KLTerm{Frozen: f}}); err == nil {
			t.Error("a teacher of another engine, or none, passed in Score")
		}
		if _, err := stranger.Backward(ctx, normalised(t, engine.Stream{Name: "kl", Obj: objective.TermLoss{Term: objective.KLTerm{Frozen: f}}, Rows: rows})); err == nil {
			t.Error("a teacher of another engine, or none, passed in Backward")
		}
	}
}

// scorer is Score without a context.
type scorer struct{ r *runner }

func (s scorer) Score(seqs []*engine.Sequence, want engine.Want) ([]*engine.Scores, error) {
	return s.r.Score(ctx, seqs, want)
}

// Want.Temp gives everything at another temperature: what a term computes from rows, and what the sequence itself would have there.
func TestScoreTemperature(t *testing.T) {
	e := open(t, loud(t, model.Llama, false), Options{MicroTokens: 50})
	cold, hot := prompt(3, 60), prompt(3, 60)
	hot.Temp = 1.3
	score := func(s *engine.Sequence, w engine.Want) *engine.Scores {
		t.Helper()
		out, err := e.Score(ctx, []*engine.Sequence{prompt(1, 10), s}, w)
		if err != nil {
			t.Fatal(err)
		}
		return out[1]
	}
	own := score(hot, engine.Want{Entropy: true, TopK: 2})
	wanted := score(cold, engine.Want{Temp: 1.3, Entropy: true, TopK: 2})
	plain := score(cold, engine.Want{Entropy: true, Term: heated{1.3}})
	mixed := score(cold, engine.Want{Temp: 1.3, Entropy: true, EntropyTemp: 1, Term: objective.EntropyTerm{}})
	for k := 1; k < 60; k++ {
		switch {
		case own.LogProb[k] != wanted.LogProb[k] || own.Entropy[k] != wanted.Entropy[k] || own.TopLogP[k][1] != wanted.TopLogP[k][1]:
			t.Fatalf("token %d: %v at the sequence's temperature, %v at the same one by Want", k, own.LogProb[k], wanted.LogProb[k])
		case math.Abs(float64(plain.Term[k]-wanted.LogProb[k])) > 2e-5 || plain.LogProb[k] == wanted.LogProb[k]:
			t.Fatalf("token %d: %v by its row, %v by Want", k, plain.Term[k], wanted.LogProb[k])
		case mixed.LogProb[k] != wanted.LogProb[k] || mixed.Entropy[k] != plain.Entropy[k] || math.Abs(float64(mixed.Term[k]-wanted.Entropy[k])) > 2e-5:
			t.Fatalf("token %d: log-prob, entropy and term at temperatures of their own: %v %v %v", k, mixed.LogProb[k], mixed.Entropy[k], mixed.Term[k])
		}
	}
	for _, w := range []engine.Want{{Temp: 1e-9}, {Temp: float32(math.NaN())}, {EntropyTemp: -1}} {
		if _, err := e.Score(ctx, []*engine.Sequence{cold}, w); err == nil {
			t.Errorf("%+v passed", w)
		}
	}
	tempered := normalised(t, engine.Stream{Name: "s", Obj: needsTemp{}, Rows: []engine.Row{fullRow(cold)}})
	if _, err := e.Backward(ctx, tempered); err == nil || !strings.Contains(err.Error(), "temperature") {
		t.Errorf("an objective that asks Backward for another temperature: %v", err)
	}
}

type needsTemp struct{ objective.CrossEntropy }

func (needsTemp) Needs() engine.Want { return engine.Want{Temp: 2} }

// only is a term that knows one token alone.
type only struct {
	seq *engine.Sequence
	t   int
}

func (only) Name() string { return "only" }
func (o only) Value(row engine.LogitRow) float32 {
	if row.Seq != o.seq || row.T != o.t {
		return float32(math.NaN())
	}
	return 1
}
func (o only) Grad(row engine.LogitRow, weight float32, dLogits []float32) { dLogits[0] += weight }

// A term sees the tokens in its stream's masks and no others; one that is not a number is named.
func TestTermMask(t *testing.T) {
	e := open(t, loud(t, model.Llama, false), Options{MicroTokens: 40})
	rows := returnRows(3)
	one := engine.Row{Seq: rows[1].Seq, Mask: make([]bool, len(rows[1].Mask))}
	one.Mask[7] = true
	streams := func(obj engine.Objective, row engine.Row) []engine.Stream {
		return []engine.Stream{{Name: "sft", Obj: objective.CrossEntropy{}, Rows: rows}, {Name: "one", Obj: obj, Rows: []engine.Row{row}}}
	}
	for _, o := range []engine.Objective{objective.TermLoss{Term: only{one.Seq, 7}}, asBatch{objective.TermLoss{Term: only{one.Seq, 7}}}} {
		stats, err := e.Backward(ctx, normalised(t, streams(o, one)...))
		if err != nil || stats.Streams[1].Loss != 1 {
			t.Errorf("loss %g, %v", stats.Streams[1].Loss, err)
		}
		e.clear()
		_, err = e.Backward(ctx, normalised(t, streams(o, rows[1])...))
		if err == nil || !strings.Contains(err.Error(), "row term only is NaN at token 1") || gradientNorm(e.Model()) != 0 {
			t.Errorf("a term that is not a number: %v", err)
		}
	}
}
