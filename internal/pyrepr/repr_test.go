package pyrepr

import (
	"math"
	"math/big"
	"testing"
)

// TestScalar holds what CPython 3.11 writes.
func TestScalar(t *testing.T) {
	for _, c := range []struct {
		v    any
		want string
	}{
		{nil, "None"}, {true, "True"}, {false, "False"}, {int64(-7), "-7"}, {new(big.Int).Lsh(big.NewInt(1), 70), "1180591620717411303424"},
		{0.0, "0.0"}, {math.Copysign(0, -1), "-0.0"}, {1.0, "1.0"}, {0.1, "0.1"}, {1e-4, "0.0001"}, {9.999e-5, "9.999e-05"}, {1e15, "1000000000000000.0"},
		{9999999999999998.0, "9999999999999998.0"}, {1e16, "1e+16"}, {1.5e300, "1.5e+300"}, {-2.5, "-2.5"}, {5e-324, "5e-324"},
		{math.Inf(1), "inf"}, {math.Inf(-1), "-inf"}, {math.NaN(), "nan"},
		{"", "''"}, {"it's", `"it's"`}, {`say "x"`, `'say "x"'`}, {`both ' and "`, `'both \' and "'`}, {`a\b`, `'a\\b'`}, {"\n\r\t", `'\n\r\t'`},
		{"\x00\x1f\x7f", `'\x00\x1f\x7f'`}, {"\u00a0\u00ad", `'\xa0\xad'`}, {"é€", "'é€'"}, {"\u2028", `'\u2028'`}, {"\U0001f600", "'\U0001f600'"},
		{"\U000e0001", `'\U000e0001'`}, {`'\'`, `"'\\'"`},
	} {
		if got, ok := Scalar(c.v); !ok || got != c.want {
			t.Errorf("%#v: %s, want %s", c.v, got, c.want)
		}
	}
	if got, ok := Scalar([]int{1}); ok {
		t.Errorf("a slice is %s", got)
	}
}
