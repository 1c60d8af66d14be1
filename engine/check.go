package engine

import "fmt"

// Check refuses, before any arithmetic, a batch that the described engine cannot run or that an objective could not read: engines call it
// first in Backward.
func (b *Batch) Check(i Info) error {
	for k := range b.Streams {
		s := &b.Streams[k]
		if err := s.checkNeeds(i); err != nil {
			return err
		}
		if err := s.checkRows(); err != nil {
			return err
		}
	}
	return nil
}

func (s *Stream) checkNeeds(i Info) error {
	need := s.Obj.Needs()
	switch {
	case s.Obj.Scope() == ScopeBatch && !i.Caps[CapBatchScope]:
		return &NotYet{Engine: i.Engine, What: CapBatchScope}
	case s.Into != "" && !i.Caps[CapGradients]:
		return &NotYet{Engine: i.Engine, What: CapGradients}
	case need.TopK > 0 || need.Hidden || need.EntropyTemp != 0:
		return fmt.Errorf("stream %q: objective %s asks Backward for top-k, hidden states or entropy at another temperature, which only Score gives", s.Name, s.Obj.Name())
	}
	return i.Check("stream "+s.Name, need.Capabilities())
}

func (s *Stream) checkRows() error {
	var channels []string
	if c, ok := s.Obj.(ChannelReader); ok {
		channels = c.Channels()
	}
	units := map[int64]int{}
	for _, r := range s.Rows {
		n := len(r.Seq.Tokens)
		units[r.Seq.Unit]++
		switch {
		case r.Scale == 0:
			return fmt.Errorf("stream %q: sequence %s has no scale: pass the streams through engine.Normalise first", s.Name, r.Seq.Label())
		case len(r.Mask) != n || r.Weight != nil && len(r.Weight) != n:
			return fmt.Errorf("stream %q: sequence %s has %d tokens, but mask %d and weights %d entries", s.Name, r.Seq.Label(), n, len(r.Mask), len(r.Weight))
		case n > 0 && r.Mask[0]:
			return fmt.Errorf("stream %q: sequence %s masks token 0 in, which nothing predicts: put a token before it", s.Name, r.Seq.Label())
		}
		for _, c := range channels {
			if len(r.Seq.Channel(c)) != n {
				return fmt.Errorf("stream %q: sequence %s has no channel %q, which %s reads: fill it before Backward", s.Name, r.Seq.Label(), c, s.Obj.Name())
			}
		}
	}
	for _, r := range s.Rows {
		if u := r.Seq.Unit; s.Obj.Scope() == ScopeUnit && (u == 0 || units[u] != 2) {
			return fmt.Errorf("stream %q: unit %d has %d sequences, but %s compares two: give each pair a Unit of its own", s.Name, u, units[u], s.Obj.Name())
		}
	}
	if c, ok := s.Obj.(RowChecker); ok {
		if err := c.CheckRows(s.Rows); err != nil {
			return fmt.Errorf("stream %q: %w", s.Name, err)
		}
	}
	return nil
}
