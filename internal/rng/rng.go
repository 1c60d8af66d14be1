// Package rng gives random numbers as a pure function of what they are for: (seed, purpose, step, problem, sample, position ...).
//
// Nothing here has hidden state, so a draw never depends on how many draws were made before it, on the number of threads,
// or on where a run was resumed. The mixer is SplitMix64's finaliser (Steele, Lea, Flood 2014), applied once for each part of the key.
package rng

import "math"

// Key names one independent stream of random numbers.
type Key uint64

func mix(z uint64) uint64 {
	z += 0x9e3779b97f4a7c15
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb
	return z ^ (z >> 31)
}

// New returns the key of a purpose under a seed, refined by the given parts. Purposes are short constant words such as "sample" or "shuffle".
func New(seed uint64, purpose string, parts ...uint64) Key {
	return Key(mix(seed)).Sub(purpose).With(parts...)
}

// Sub refines the key by a word.
func (k Key) Sub(word string) Key {
	h := mix(uint64(k) ^ uint64(len(word))*0xd6e8feb86659fd93)
	for i := 0; i < len(word); i++ {
		h = (h ^ uint64(word[i])) * 0x100000001b3
	}
	return Key(mix(h))
}

// With refines the key by numbers.
func (k Key) With(parts ...uint64) Key {
	h := uint64(k)
	for _, p := range parts {
		h = mix(h ^ mix(p))
	}
	return Key(h)
}

// Uint64 returns draw number i of the stream.
func (k Key) Uint64(i uint64) uint64 { return mix(uint64(k) ^ mix(i^0xa0761d6478bd642f)) }

// Float64 returns draw number i, uniform in [0, 1) with 53 bits.
func (k Key) Float64(i uint64) float64 { return float64(k.Uint64(i)>>11) / (1 << 53) }

// Normal returns draw number i from the standard normal distribution (Box-Muller).
func (k Key) Normal(i uint64) float64 {
	u := float64(k.Uint64(2*i)>>11+1) / (1 << 53) // in (0, 1]
	v := k.Float64(2*i + 1)
	return math.Sqrt(-2*math.Log(u)) * math.Cos(2*math.Pi*v)
}

// Intn returns draw number i, uniform in [0, n) up to a bias below n/2^53. It panics if n is not positive.
func (k Key) Intn(i uint64, n int) int {
	if n <= 0 {
		panic("rng: Intn of a number that is not positive")
	}
	return int(k.Float64(i) * float64(n))
}

// Perm returns a random permutation of 0..n-1.
func (k Key) Perm(n int) []int {
	p := make([]int, n)
	for i := range p {
		j := k.Intn(uint64(i), i+1)
		p[i] = p[j]
		p[j] = i
	}
	return p
}

// Source adapts a key to math/rand/v2, for generators that draw a varying count of numbers: rand.New(key.Source()).
type Source struct {
	key Key
	n   uint64
}

// Source returns a new sequential source that starts at draw 0.
func (k Key) Source() *Source { return &Source{key: k} }

// Uint64 implements math/rand/v2.Source.
func (s *Source) Uint64() uint64 {
	s.n++
	return s.key.Uint64(s.n - 1)
}
