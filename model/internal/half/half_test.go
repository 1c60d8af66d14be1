package half

import (
	"math"
	"testing"
)

func TestF16(t *testing.T) {
	for h := range 1 << 16 {
		exp, man, sign := h>>10&31, float64(h&0x3ff), 1.0
		if h&0x8000 != 0 {
			sign = -1
		}
		var want float64
		switch {
		case exp == 0:
			want = sign * math.Ldexp(man, -24)
		case exp < 31:
			want = sign * math.Ldexp(1024+man, exp-25)
		case man == 0:
			want = math.Inf(int(sign))
		default:
			want = math.NaN()
		}
		got := float64(F16(uint16(h)))
		if got != want && !(got != got && want != want) || math.Signbit(got) != (h&0x8000 != 0) {
			t.Fatalf("F16(%#04x) = %g, want %g", h, got, want)
		}
	}
}

func TestBF16(t *testing.T) {
	for b := range 1 << 16 {
		f := BF16(uint16(b))
		if back := ToBF16(f); back != uint16(b) && f == f {
			t.Fatalf("%#04x became %#04x", b, back)
		}
		if f != f && BF16(ToBF16(f)) == BF16(ToBF16(f)) {
			t.Fatalf("NaN %#04x became a number", b)
		}
	}
	cases := []struct {
		in   uint32
		want uint16
	}{{0x3f808000, 0x3f80}, {0x3f818000, 0x3f82}, {0x3f808001, 0x3f81}, {0x7f7fffff, 0x7f80}, {0x7f800001, 0x7fc0}}
	for _, c := range cases {
		if got := ToBF16(math.Float32frombits(c.in)); got != c.want {
			t.Errorf("ToBF16(%#08x) = %#04x, want %#04x", c.in, got, c.want)
		}
	}
}
