package rng

import (
	"math"
	"testing"
)

func TestMoments(t *testing.T) {
	k := New(1, "test")
	const n = 200_000
	var mean, variance, uniform float64
	for i := uint64(0); i < n; i++ {
		x := k.Normal(i)
		mean += x / n
		variance += x * x / n
		uniform += k.Sub("u").Float64(i) / n
	}
	if math.Abs(mean) > 0.01 || math.Abs(variance-1) > 0.02 || math.Abs(uniform-0.5) > 0.005 {
		t.Errorf("mean %.4f, variance %.4f, uniform mean %.4f", mean, variance, uniform)
	}
}

func TestStreamsDiffer(t *testing.T) {
	seen := map[uint64]string{}
	for seed := uint64(0); seed < 20; seed++ {
		for _, purpose := range []string{"a", "b", "ab", "ba", ""} {
			for part := uint64(0); part < 20; part++ {
				v := New(seed, purpose, part).Uint64(0)
				if was, ok := seen[v]; ok {
					t.Fatalf("seed %d purpose %q part %d collides with %s", seed, purpose, part, was)
				}
				seen[v] = purpose
			}
		}
	}
}

// The bytes of every run stand on these values: they may never change.
func TestPinned(t *testing.T) {
	if got := New(1, "sample", 2, 3).Uint64(4); got != pinned {
		t.Errorf("got %#x, pinned %#x", got, uint64(pinned))
	}
}

func TestPerm(t *testing.T) {
	p := New(7, "perm").Perm(100)
	seen := make([]bool, 100)
	for _, v := range p {
		if seen[v] {
			t.Fatalf("%d twice", v)
		}
		seen[v] = true
	}
}

const pinned = 0x753de2aca5323604
