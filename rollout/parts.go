package rollout

import (
	"fmt"
	"sort"
	"strings"

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

// WeighAdvantage multiplies the advantages of an episode's tokens before the tag that its answer splits at: the first of tags that it holds,
// however late (all tokens, where it holds none). It comes after the normalisation within the group, which would take a factor on rewards out again.
func WeighAdvantage(tok token.Tokenizer, e *Episode, factor float64, tags ...string) {
	if factor == 1 {
		return
	}
	for _, s := range e.Segs {
		if adv := s.Channel(engine.ChanAdvantage); adv != nil {
			for t := range splitAt(tok, s, tags) {
				adv[t] *= float32(factor)
			}
		}
	}
}

// splitAt counts the tokens before the tag that the sampled text splits at. It looks for the tag in the text, because a vocabulary may merge the
// edges of a tag with what stands beside them; a token that holds the end of what is before the tag and the beginning of the tag counts.
func splitAt(tok token.Tokenizer, s *engine.Sequence, tags []string) int {
	var ids []int32
	var at []int
	for t, id := range s.Tokens {
		if s.KindAt(t) == engine.KindSampled {
			ids, at = append(ids, id), append(at, t)
		}
	}
	text := tok.Decode(ids, false)
	for _, tag := range tags {
		from := strings.Index(text, tag)
		if from < 0 {
			continue
		}
		n := sort.Search(len(ids), func(n int) bool { return strings.HasPrefix(tok.Decode(ids[:n], false), text[:from]) })
		if n < len(at) {
			return at[n]
		}
		break
	}
	return len(s.Tokens)
}
