package data

import (
	"strings"

	"github.com/hone-lm/hone/internal/rng"
)

// Order returns the order in which an epoch visits rows 0..n-1, a function of the key, the epoch and n.
func Order(key rng.Key, epoch, n int) []int { return key.Sub("order").With(uint64(epoch)).Perm(n) }

// Shuffle is an endless walk over N rows, epoch after epoch, each in an Order of its own. It has no state but a memory of the epoch
// it was asked for last, so a resumed run goes on from a position alone.
type Shuffle struct {
	Key   rng.Key
	N     int
	epoch int
	order []int
}

// Rows returns count rows from a position of the walk on; position p is in epoch p / N. A batch may reach over the end of an epoch.
func (s *Shuffle) Rows(position, count int) []int {
	if s.N <= 0 {
		return nil
	}
	rows := make([]int, count)
	for i := range rows {
		epoch := (position + i) / s.N
		if s.order == nil || epoch != s.epoch || len(s.order) != s.N {
			s.epoch, s.order = epoch, Order(s.Key, epoch, s.N)
		}
		rows[i] = s.order[(position+i)%s.N]
	}
	return rows
}

// Batches cuts an order into batches of size rows; the last may be smaller.
func Batches(order []int, size int) [][]int {
	var batches [][]int
	for size > 0 && len(order) > 0 {
		n := min(size, len(order))
		batches = append(batches, order[:n:n])
		order = order[n:]
	}
	return batches
}

// Pack groups sequences 0..len(lengths)-1, in their order, into runs of neighbours whose lengths add up to at most budget tokens.
// One that is longer than the budget by itself stands alone.
func Pack(lengths []int, budget int) [][]int {
	var packs [][]int
	var pack []int
	sum := 0
	for i, n := range lengths {
		if len(pack) > 0 && sum+n > budget {
			packs = append(packs, pack)
			pack, sum = nil, 0
		}
		pack = append(pack, i)
		sum += n
	}
	if len(pack) > 0 {
		packs = append(packs, pack)
	}
	return packs
}

// SplitRows divides rows into training and validation rows by a hash of what is asked: the prompt, or the messages before the first
// answer. Rows with the same question thus fall on the same side, and adding rows to the file moves none of the others. The share of
// validation rows is validFraction on average.
func SplitRows(rows []Row, validFraction float64, seed uint64) (train, valid []Row) {
	for _, r := range rows {
		if rng.New(seed, "split").Sub(question(&r)).Float64(0) < validFraction {
			valid = append(valid, r)
		} else {
			train = append(train, r)
		}
	}
	return train, valid
}

// question is the part of a row that is not the answer; the answer itself where there is nothing else.
func question(r *Row) string {
	if r.Messages == nil {
		if r.Prompt == "" {
			return r.Completion
		}
		return r.Prompt
	}
	var b strings.Builder
	for i, m := range r.Messages {
		if m.Role == "assistant" && i > 0 {
			break
		}
		b.WriteString(m.Role + "\x00" + m.Content + "\x00")
	}
	return b.String()
}
