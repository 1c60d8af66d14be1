package kernel

import (
	"fmt"
	"math"
	"testing"
)

// tokenCase is one token whose heads attend to pages with NaN where no key is.
type tokenCase struct {
	heads, group, headDim, keys int
	q                           []float32
	pages                       [][]float32
}

func newTokenCase(heads, group, headDim, keys int) *tokenCase {
	c := &tokenCase{heads: heads, group: group, headDim: headDim, keys: keys, q: random(1, heads*headDim)}
	kvs, size := heads/group, 2*PageTokens*headDim
	for range (keys + PageTokens - 1) / PageTokens {
		page := make([]float32, kvs*size)
		for i := range page {
			page[i] = float32(math.NaN())
		}
		c.pages = append(c.pages, page)
	}
	for i := range keys {
		for kv := range kvs {
			page := c.pages[i/PageTokens][kv*size:]
			PutK(page, i%PageTokens, headDim, random(uint64(1000+i*kvs+kv), headDim))
			PutV(page, i%PageTokens, headDim, random(uint64(90000+i*kvs+kv), headDim))
		}
	}
	return c
}

func (c *tokenCase) run(s *AttnScratch, out []float32) []float32 {
	AttnToken(s, c.heads, c.group, c.q, c.keys, c.pages, c.headDim, attnScale, out)
	return out
}

// byHead is the same by AttnForward, a head at a time.
func (c *tokenCase) byHead() []float32 {
	var s AttnScratch
	out, size := make([]float32, len(c.q)), 2*PageTokens*c.headDim
	for h := range c.heads {
		var pages [][]float32
		for _, page := range c.pages {
			pages = append(pages, page[h/c.group*size:][:size])
		}
		at := h * c.headDim
		AttnForward(&s, 1, c.q[at:], c.headDim, []int32{int32(c.keys)}, pages, c.headDim, attnScale, out[at:], c.headDim, nil)
	}
	return out
}

func tokenCases() []*tokenCase {
	var cases []*tokenCase
	for i, d := range []int{32, 48, 64, 16, 80, 24, 20, 3, 128} {
		cases = append(cases, newTokenCase(i+1, 1, d, 60+i))
	}
	for i, keys := range []int{1, 31, 32, 33, 97} {
		cases = append(cases, newTokenCase(3*(i+1), 3, 48, keys))
	}
	return append(cases, newTokenCase(40, 5, 32, 70), newTokenCase(8, 8, 64, 40))
}

// The heads of a token together have the bytes of each head alone.
func TestAttnToken(t *testing.T) {
	for _, c := range tokenCases() {
		name := fmt.Sprintf("%d heads by %d of %d, %d keys", c.heads, c.group, c.headDim, c.keys)
		eachLevel(t, func(t *testing.T) {
			var s AttnScratch
			want, got := c.byHead(), make([]float32, len(c.q))
			if !AllFinite(c.run(&s, got)) || !equal(got, want) {
				t.Errorf("%s: other bytes than a head at a time", name)
			}
			if n := testing.AllocsPerRun(3, func() { c.run(&s, got) }); n != 0 {
				t.Errorf("%s: %g allocations", name, n)
			}
			last := &c.pages[len(c.pages)-1][(2*(c.heads/c.group)-1)*PageTokens*c.headDim+(c.keys-1)%PageTokens*c.headDim]
			*last += 1 // the last key's value in the last key head
			if equal(c.run(&s, got), want) {
				t.Errorf("%s: another value passed", name)
			}
			*last -= 1
		})
	}
}
