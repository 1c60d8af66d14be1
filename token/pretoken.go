package token

import (
	"fmt"
	"slices"

	"github.com/dlclark/regexp2/v2"
)

// A splitter cuts s[sp.from:sp.to] into pieces, which it appends to out. It sees nothing outside of the span.
type splitter func(s string, sp span, out []span) []span

// byScanner cuts with one of the scanners, which leave no gaps.
func byScanner(next scanner) splitter {
	return func(s string, sp span, out []span) []span {
		part := s[sp.from:sp.to]
		for i := 0; i < len(part); {
			j := next(part, i)
			out = append(out, span{sp.from + i, sp.from + j})
			i = j
		}
		return out
	}
}

// byDigits cuts out numbers, each digit alone or each run.
func byDigits(individual bool) splitter {
	limit := 0
	if individual {
		limit = 1
	}
	return func(s string, sp span, out []span) []span {
		part, from := s[sp.from:sp.to], 0
		for i := 0; i < len(part); {
			c, n := classAt(part, i)
			if c != number {
				i += n
				continue
			}
			if from < i {
				out = append(out, span{sp.from + from, sp.from + i})
			}
			from = run(part, i, number, limit)
			out = append(out, span{sp.from + i, sp.from + from})
			i = from
		}
		if from < len(part) {
			out = append(out, span{sp.from + from, sp.to})
		}
		return out
	}
}

// What becomes of the parts that match an expression (Split of tokenizer.json).
const (
	removed      = "Removed"
	isolated     = "Isolated"
	withPrevious = "MergedWithPrevious"
	withNext     = "MergedWithNext"
	contiguous   = "Contiguous"
)

// bySplit cuts at the matches of an expression.
func bySplit(expr, behavior string, invert bool) (splitter, error) {
	known := []string{removed, isolated, withPrevious, withNext, contiguous}
	if !slices.Contains(known, behavior) {
		return nil, fmt.Errorf("behavior %q is none of %v", behavior, known)
	}
	if next, ok := scanners[expr]; ok && behavior == isolated {
		return byScanner(next), nil // no gaps, so invert changes nothing
	}
	re, err := regexp2.Compile(expr, regexp2.OptionMaxBacktrackingStackSize(-1))
	if err != nil {
		return nil, fmt.Errorf("expression %s: %w", quote(expr), err)
	}
	return func(s string, sp span, out []span) []span {
		part := s[sp.from:sp.to]
		// Without a timeout and a limit of the stack no error can occur.
		matches, _ := re.FindAllStringIndex(part, -1)
		pieces := make([]match, 0, 2*len(matches)+1)
		from := 0
		put := func(to int, hit bool) {
			if from < to {
				pieces = append(pieces, match{span{sp.from + from, sp.from + to}, hit != invert})
				from = to
			}
		}
		for _, m := range matches {
			put(m[0], false)
			put(m[1], true)
		}
		put(len(part), false)
		return joined(pieces, behavior, out)
	}, nil
}

type match struct {
	span
	hit bool
}

func joined(pieces []match, behavior string, out []span) []span {
	start, was := len(out), false
	if behavior == withNext {
		slices.Reverse(pieces)
	}
	for i, p := range pieces {
		joins := len(out) > start && p.hit && !was
		switch {
		case behavior == removed && p.hit:
		case behavior == withPrevious && joins, behavior == contiguous && i > 0 && p.hit == was:
			out[len(out)-1].to = p.to
		case behavior == withNext && joins:
			out[len(out)-1].from = p.from
		default:
			out = append(out, p.span)
		}
		was = p.hit
	}
	if behavior == withNext {
		slices.Reverse(out[start:])
	}
	return out
}

// escape quotes a text for use as an expression.
func escape(text string) string { return regexp2.Escape(text) }
