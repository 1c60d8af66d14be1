package rollout

import (
	"fmt"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/task"
	"github.com/hone-lm/hone/token"
)

// DemoPart is a piece of a demonstrated answer. Its text may hold tags such as <plan>.
type DemoPart struct {
	Span, Text string
	Skip       bool // the model reads it but does not learn it
}

// DemoParts returns a question with its answer in parts as one sequence, each part a span. The end token belongs to the last part.
func (f *Format) DemoParts(p *task.Problem, parts []DemoPart) (*engine.Sequence, error) {
	s, err := f.question(p)
	if err != nil {
		return nil, err
	}
	if f.Tok.EOS() < 0 {
		return nil, fmt.Errorf("tokenizer %s has no end token, so an answer could never end: use a model with one", f.Tok.Name())
	}
	for i, part := range parts {
		ids := token.Continue(f.Tok, s.Tokens, part.Text, token.EncodeOptions{Special: true})
		if i == len(parts)-1 {
			ids = append(ids, f.Tok.EOS())
		}
		kind := engine.KindDemo
		if part.Skip {
			kind = engine.KindInserted
		}
		s.Spans = append(s.Spans, engine.Span{From: len(s.Tokens), To: len(s.Tokens) + len(ids), Name: part.Span})
		for _, id := range ids {
			s.Tokens, s.Kind = append(s.Tokens, id), append(s.Kind, kind)
		}
	}
	return s, nil
}

// WeighAdvantage multiplies the advantages of an episode's tokens before the first occurrence of split (of all, where there is none). It comes
// after the normalisation within the group, which would take a factor on rewards out again.
func WeighAdvantage(e *Episode, split []int32, factor float64) {
	if factor == 1 {
		return
	}
	for _, s := range e.Segs {
		adv := s.Channel(engine.ChanAdvantage)
		for t := range adv {
			if startsWith(s.Tokens[t:], split) && s.KindAt(t) == engine.KindSampled {
				break
			}
			adv[t] *= float32(factor)
		}
	}
}

func startsWith(ids, want []int32) bool {
	if len(want) == 0 || len(ids) < len(want) {
		return false
	}
	for i := range want {
		if ids[i] != want[i] {
			return false
		}
	}
	return true
}
