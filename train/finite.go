package train

import (
	"fmt"
	"slices"

	"github.com/hone-lm/hone/engine"
)

// blame adds to an error of the engine where a number that is not finite came in, when there is one: a weight of the model, or what the method
// put into the batch. No step has been made, so the last state is good.
func (s *Step) blame(err error, b *engine.Batch) error {
	if e, ok := s.Engine.(interface{ NotFinite() string }); ok {
		if where := e.NotFinite(); where != "" {
			return fmt.Errorf("%w; the weight %s", err, where)
		}
	}
	if where := notFinite(b); where != "" {
		return fmt.Errorf("%w; %s", err, where)
	}
	return err
}

// notFinite names the first weight or channel entry of the batch, among those that the rows' masks let through, that is not finite.
func notFinite(b *engine.Batch) string {
	if b == nil {
		return ""
	}
	for i := range b.Streams {
		s := &b.Streams[i]
		for k := range s.Rows {
			r := &s.Rows[k]
			for t := range r.Mask {
				if w := r.WeightAt(t); w-w != 0 {
					return fmt.Sprintf("stream %q: the weight of token %d of sequence %s is %g", s.Name, t, r.Seq.Label(), w)
				}
			}
			reader, ok := s.Obj.(engine.ChannelReader)
			if !ok {
				continue
			}
			for _, name := range slices.Sorted(slices.Values(reader.Channels())) {
				for t, x := range r.Seq.Channel(name) {
					if r.Mask[t] && x-x != 0 {
						return fmt.Sprintf("stream %q: %s of token %d of sequence %s is %g", s.Name, name, t, r.Seq.Label(), x)
					}
				}
			}
		}
	}
	return ""
}
