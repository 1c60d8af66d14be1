package train

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/rollout"
)

// Keep says what a build node keeps of a step's graded groups: sequences that become rows for later nodes.
type Keep func(s *Step, groups []*rollout.Group) ([]*engine.Sequence, error)

// build executes one build node: collect (sample or search, grade), keep, write rows. It is Run without a gradient.
func build(ctx context.Context, s *Step, m Method) error {
	n, ses := s.Node, s.s
	bar := ses.Display.Stage(n.Name, n.Steps)
	for ; s.Index < n.Steps; s.Index++ {
		if ses.stopping() {
			return errors.Join(ErrInterrupted, ses.saveState(ctx, s, m))
		}
		start := time.Now()
		s.log.begin()
		s.Env.Key = engine.NewKey(s.Seed, "sample", uint64(s.Index))
		groups, err := m.Collect(ctx, s)
		if err != nil {
			return s.fail("collect", err)
		}
		s.log.episodes(groups)
		kept, err := n.Keep(s, groups)
		if err != nil {
			return s.fail("keep", err)
		}
		for _, seq := range kept {
			row, err := newRow(seq)
			if err == nil {
				err = ses.Run.Append(rowsFile(n.Name), row)
			}
			if err != nil {
				return s.fail("keep", err)
			}
		}
		s.Note("kept", float64(len(kept)))
		if err := ses.logStep(s, bar, time.Since(start)); err != nil {
			return err
		}
		if every := ses.Common.Checkpoint.Every; every > 0 && (s.Index+1)%every == 0 && s.Index+1 < n.Steps {
			s.Index++
			err := ses.saveState(ctx, s, m)
			s.Index--
			if err != nil {
				return err
			}
		}
	}
	bar.Done("")
	return nil
}

func rowsFile(node string) string { return "rows/" + node + ".jsonl" }

// row is one kept sequence in rows/<node>.jsonl: token ids, never text, so that what was sampled is what is learned.
type row struct {
	ID     engine.ItemID        `json:"id"`
	Tokens []int32              `json:"tokens"`
	Kinds  string               `json:"kinds"` // one letter a token, see kindLetters
	Chan   map[string][]float32 `json:"chan,omitempty"`
	Spans  []engine.Span        `json:"spans,omitempty"`
	Stop   engine.StopReason    `json:"stop,omitempty"`
	Temp   float32              `json:"temp,omitempty"`
	Unit   int64                `json:"unit,omitempty"`
	Policy int64                `json:"policy,omitempty"`
}

// kindLetters has the letter of each engine.Kind: prompt, demonstration, sampled, forced, inserted, observed.
const kindLetters = "pdsfio"

func newRow(s *engine.Sequence) (row, error) {
	if s.Pos != nil || s.Hide != nil || s.Mix != nil {
		return row{}, fmt.Errorf("sequence %s has positions, hidden ranges or mixed embeddings, which rows do not hold", s.Label())
	}
	kinds := make([]byte, len(s.Tokens))
	for t := range kinds {
		kinds[t] = kindLetters[s.KindAt(t)]
	}
	return row{ID: s.ID, Tokens: s.Tokens, Kinds: string(kinds), Chan: s.Chan, Spans: s.Spans, Stop: s.Stop, Temp: s.Temp, Unit: s.Unit, Policy: s.Policy}, nil
}

func (r *row) sequence() (*engine.Sequence, error) {
	s := &engine.Sequence{ID: r.ID, Tokens: r.Tokens, Chan: r.Chan, Spans: r.Spans, Stop: r.Stop, Temp: r.Temp, Unit: r.Unit, Policy: r.Policy}
	if len(r.Kinds) != len(r.Tokens) {
		return nil, fmt.Errorf("%d tokens but %d kinds", len(r.Tokens), len(r.Kinds))
	}
	for _, c := range r.Kinds {
		k := strings.IndexRune(kindLetters, c)
		if k < 0 {
			return nil, fmt.Errorf("unknown kind %q: want letters of %q", c, kindLetters)
		}
		s.Kind = append(s.Kind, engine.Kind(k))
	}
	for name, c := range r.Chan {
		if len(c) != len(r.Tokens) {
			return nil, fmt.Errorf("%d tokens but %d entries in channel %q", len(r.Tokens), len(c), name)
		}
	}
	return s, nil
}

// ErrNoRows says that a build node kept nothing; a method for which that is no mistake tests for it. ErrNotBuilt says that there is no run that
// could have built rows: a dry run.
var (
	ErrNoRows   = errors.New("it kept none: loosen what it keeps, or give it more steps")
	ErrNotBuilt = errors.New("it has not run")
)

// Rows reads what a build node of this run kept, in the order in which it was kept.
func (s *Step) Rows(node string) ([]*engine.Sequence, error) {
	if s.s.Run == nil {
		return nil, fmt.Errorf("node %s reads the rows of %s: %w", s.Node.Name, node, ErrNotBuilt)
	}
	if err := s.s.Run.Sync(); err != nil {
		return nil, err
	}
	path := s.s.Run.Path(rowsFile(node))
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("node %s reads the rows of %s: %w", s.Node.Name, node, ErrNoRows)
	}
	if err != nil {
		return nil, err
	}
	var out []*engine.Sequence
	lines := bufio.NewScanner(bytes.NewReader(b))
	lines.Buffer(nil, len(b)+1)
	for lines.Scan() {
		var r row
		err := json.Unmarshal(lines.Bytes(), &r)
		if err == nil {
			var seq *engine.Sequence
			seq, err = r.sequence()
			out = append(out, seq)
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, len(out)+1, err)
		}
	}
	return out, lines.Err()
}
