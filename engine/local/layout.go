package local

import (
	"encoding/binary"
	"slices"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/model"
	"github.com/hone-lm/hone/tensor"
)

// layout says where the tokens of a micro-batch's sequences lie: in columns, one entry a token, sequence after sequence, and in the model's input,
// one row a token but for prompts that an earlier sequence has brought already.
type layout struct {
	seqs   []laid
	tokens int // entries of a column
}

// laid is the place of one sequence.
type laid struct {
	base, n    int // its tokens are entries base to base+n-1 of a column
	shared     int // so many tokens at the front have the rows of the trunk
	trunk, own int // rows of the trunk's first token, and of token number shared
}

// row returns the row of token t.
func (l *laid) row(t int) int32 {
	if t < l.shared {
		return int32(l.trunk + t)
	}
	return int32(l.own + t - l.shared)
}

// fill lays the sequences of a micro-batch one after another. With share a sequence whose prompt is that of the sequences before it, back to the
// first of them, is laid without it: attention reads the first one's.
func (y *layout) fill(in *model.Input, seqs []*engine.Sequence, micro []int, share bool) {
	in.Tokens, in.Docs = in.Tokens[:0], in.Docs[:0]
	in.KV, in.Rows, in.Pos = nil, nil, nil
	y.seqs, y.tokens = y.seqs[:0], 0
	var first []int32 // prompt of the trunk
	trunk := 0
	for _, at := range micro {
		tokens, own := seqs[at].Tokens, len(in.Tokens)
		l := laid{base: y.tokens, n: len(tokens), own: own}
		if share {
			if p := promptOf(seqs[at]); len(p) > 0 && slices.Equal(p, first) {
				l.shared, l.trunk = len(p), trunk
			} else {
				first, trunk = p, own
			}
		}
		in.Tokens = append(in.Tokens, tokens[l.shared:]...)
		in.Docs = append(in.Docs, tensor.Doc{From: own, To: len(in.Tokens), Shared: l.shared})
		y.seqs, y.tokens = append(y.seqs, l), y.tokens+l.n
	}
}

// promptOf returns the tokens that a sequence can share: its prompt up to the first token of another kind, and never its last token.
func promptOf(s *engine.Sequence) []int32 {
	n := 0
	for n < len(s.Tokens)-1 && s.KindAt(n) == engine.KindPrompt {
		n++
	}
	return s.Tokens[:n]
}

// pack cuts sequences into micro-batches of at most opt.MicroTokens rows, in order; the sequences of a unit stay together, and what is longer than
// the budget runs alone. With shared prompts those of one prompt stand together in their micro-batch, and the prompt counts once.
func pack(seqs []*engine.Sequence, opt Options) [][]int {
	var groups []group
	if opt.SharePrompts {
		groups = promptGroups(seqs)
	}
	var out [][]int
	in := map[int]int{} // group to the last micro-batch, counted from 1, that has it
	used := 0
	for _, b := range units(seqs) {
		weigh := func() (n int) {
			for k, i := range b {
				n += len(seqs[i].Tokens)
				if groups != nil && (in[groups[i].first] == len(out) || slices.ContainsFunc(b[:k], func(j int) bool { return groups[j].first == groups[i].first })) {
					n -= groups[i].prompt
				}
			}
			return n
		}
		n := weigh()
		if len(out) == 0 || used+n > opt.MicroTokens {
			out = append(out, nil)
			used, n = 0, weigh()
		}
		last := len(out) - 1
		out[last] = append(out[last], b...)
		used += n
		for _, i := range b {
			if groups != nil {
				in[groups[i].first] = len(out)
			}
		}
	}
	for _, micro := range out {
		if groups != nil {
			slices.SortStableFunc(micro, func(i, j int) int { return groups[i].first - groups[j].first })
		}
	}
	return out
}

// units returns the sequences of each unit, and those of none alone.
func units(seqs []*engine.Sequence) (blocks [][]int) {
	unit := map[int64]int{}
	for i, s := range seqs {
		if s.Unit != 0 {
			if at, ok := unit[s.Unit]; ok {
				blocks[at] = append(blocks[at], i)
				continue
			}
			unit[s.Unit] = len(blocks)
		}
		blocks = append(blocks, []int{i})
	}
	return blocks
}

// group says with whom a sequence shares its prompt: the first sequence that has it, and its length in tokens.
type group struct{ first, prompt int }

func promptGroups(seqs []*engine.Sequence) []group {
	out := make([]group, len(seqs))
	first := map[string]int{}
	var key []byte
	for i, s := range seqs {
		p := promptOf(s)
		out[i] = group{i, len(p)}
		if len(p) == 0 {
			continue
		}
		key = key[:0]
		for _, id := range p {
			key = binary.LittleEndian.AppendUint32(key, uint32(id))
		}
		if at, ok := first[string(key)]; ok {
			out[i].first = at
		} else {
			first[string(key)] = i
		}
	}
	return out
}
