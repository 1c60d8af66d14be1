package token

import (
	"strings"
	"testing"
)

// TestNFC: expected texts are those of Python's unicodedata.normalize.
func TestNFC(t *testing.T) {
	marks := strings.Repeat("\u0301\u0323", 20) // acute above, dot below: 40 marks, more than x/text takes in one piece
	for _, c := range []struct{ in, want string }{
		{"plain", "plain"},
		{"e\u0301", "é"},
		{"a\u0323\u0301", "ạ\u0301"},
		{"a\u0301\u0323", "ạ\u0301"},
		{"\u1112\u1161\u11ab", "한"},
		{"\u212b\u2126", "ÅΩ"},
		{"\u0958", "\u0915\u093c"}, // excluded from composition
		{"x" + "a" + marks + "y", "xạ" + strings.Repeat("\u0323", 19) + strings.Repeat("\u0301", 20) + "y"},
	} {
		got, at := nfc(c.in)
		if got != c.want {
			t.Errorf("%+q: got %+q, want %+q", c.in, got, c.want)
		}
		if at != nil && (len(at) != len(got)+1 || at[len(got)] != len(c.in)) {
			t.Errorf("%+q: %d offsets for %d bytes", c.in, len(at), len(got))
		}
	}
}
