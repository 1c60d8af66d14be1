package train

import (
	"fmt"
	"unicode/utf8"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/reward"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/run"
	"github.com/hone-lm/hone/token"
)

// weighed is what one stream of a step's first pass says about a sequence.
type weighed struct {
	stream  string
	scale   float64   // coefficient / denominator
	weights []float32 // [token], 0 outside the mask
}

// weigh notes the token weights of a batch for the step's rollouts. A stream that names a sequence in several rows weighs it by their sum.
func (r *recorder) weigh(b *engine.Batch) {
	for i := range b.Streams {
		s := &b.Streams[i]
		for k := range s.Rows {
			row := &s.Rows[k]
			if row.Seq.Count(engine.KindSampled) == 0 {
				continue
			}
			w := r.weighedBy(row.Seq, s.Name, row.Scale)
			for t := range w {
				w[t] += float32(row.WeightAt(t))
			}
		}
	}
}

func (r *recorder) weighedBy(seq *engine.Sequence, stream string, scale float64) []float32 {
	for _, w := range r.weights[seq] {
		if w.stream == stream {
			return w.weights
		}
	}
	w := weighed{stream, scale, make([]float32, len(seq.Tokens))}
	if r.weights == nil {
		r.weights = map[*engine.Sequence][]weighed{}
	}
	r.weights[seq] = append(r.weights[seq], w)
	return w.weights
}

// logRollouts writes the step's sampled episodes, after its first pass has weighed their tokens.
func (s *Session) logRollouts(st *Step, groups []*rollout.Group) error {
	var tok token.Tokenizer
	if s.Env.Format != nil {
		tok = s.Env.Format.Tok
	}
	for _, e := range rollout.Episodes(groups) {
		if e.Cost.Sampled == 0 {
			continue
		}
		for k, seq := range e.Segs {
			row := rolloutRow(e, seq, st.log.weights[seq])
			row.Step, row.Segment = st.Index+1, k
			if tok != nil {
				row.Pieces = pieces(tok, seq.Tokens)
			}
			if err := s.Run.Append(run.RolloutsDir+"/"+st.Node.Name+".jsonl", row); err != nil {
				return err
			}
		}
	}
	return nil
}

// rolloutRow is the record of one segment.
func rolloutRow(e *reward.Episode, seq *engine.Sequence, weights []weighed) *run.Rollout {
	row := &run.Rollout{Sample: seq.ID.Sample, Text: e.Text, Verdict: e.Grade.Verdict.String(), Reward: run.Float(e.Grade.Score), Stop: string(seq.Stop), Tokens: seq.Tokens}
	if e.Problem != nil {
		row.Problem = e.Problem.ID
	}
	for _, t := range e.Grade.Terms {
		if row.Terms == nil {
			row.Terms = map[string]run.Float{}
		}
		name := t.Name
		if t.Turn >= 0 {
			name = fmt.Sprintf("%s/%d", t.Name, t.Turn)
		}
		row.Terms[name] += run.Float(t.Value)
	}
	for row.Prompt < len(seq.Tokens) && seq.KindAt(row.Prompt) == engine.KindPrompt {
		row.Prompt++
	}
	kinds, all := make([]byte, 0, len(seq.Tokens)), true
	for t := row.Prompt; t < len(seq.Tokens); t++ {
		kinds = append(kinds, run.KindLetters[seq.KindAt(t)])
		all = all && seq.KindAt(t) == engine.KindSampled
	}
	if !all {
		row.Kinds = string(kinds)
	}
	after := func(x []float32) run.Column { return run.Column(x[min(row.Prompt, len(x)):]) }
	row.LogProb, row.Advantage = after(seq.Channel(engine.ChanOld)), after(seq.Channel(engine.ChanAdvantage))
	for _, w := range weights {
		if row.Weights == nil {
			row.Weights, row.Scale = map[string]run.Column{}, map[string]run.Short{}
		}
		row.Weights[w.stream], row.Scale[w.stream] = after(w.weights), run.Short(w.scale)
	}
	return row
}

// pieces returns the text that each token completes: a character whose bytes are in several tokens stands with the last of them, so that the
// texts joined are the whole text.
func pieces(tok token.Tokenizer, ids []int32) []string {
	out := make([]string, len(ids))
	var open []byte // of a character that has not ended
	for i, id := range ids {
		text := append(open, tok.Bytes(id)...)
		whole := len(text)
		for back := 1; back < utf8.UTFMax && back <= len(text); back++ { // is there a character that the text breaks off in?
			if at := len(text) - back; utf8.RuneStart(text[at]) {
				if !utf8.FullRune(text[at:]) {
					whole = at
				}
				break
			}
		}
		if i == len(ids)-1 {
			whole = len(text)
		}
		out[i] = string(text[:whole])
		open = append([]byte(nil), text[whole:]...)
	}
	return out
}
