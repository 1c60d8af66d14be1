package arith

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParseEval(t *testing.T) {
	for _, c := range []struct{ text, value, again string }{
		{"12*(7-3)", "48", "12*(7-3)"},
		{"12 × (7 − 3)", "48", "12*(7-3)"},
		{"1/3 + 1/6", "1/2", "1/3+1/6"},
		{"8/(3-8/3)", "24", "8/(3-8/3)"},
		{"-(2+3)*4", "-20", "-(2+3)*4"},
		{"2--3", "5", "2--3"},
		{"((((7))))", "7", "7"},
		{"10-(3-2)-(1+1)", "7", "10-(3-2)-(1+1)"},
		{"16/(4/2)/(2*2)", "2", "16/(4/2)/(2*2)"},
		{"76.0 - 25.5", "101/2", "76-25.5"},
		{"\t1 +\n2 ", "3", "1+2"},
		{"007", "7", "7"},
	} {
		e, err := Parse(c.text)
		if err != nil {
			t.Errorf("%q: %v", c.text, err)
			continue
		}
		v, err := e.Eval()
		if err != nil || v.RatString() != c.value || e.String() != c.again {
			t.Errorf("%q = %v (%v), written %q; want %s, %q", c.text, v, err, e, c.value, c.again)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{"", " ", "1+", "*2", "(1", "1)", "()", "1 2", "2x", "x", "2**3", "1..2", "1.", ".5", "3(4)", "12 = 12", "1\x00", "\x00", "1;2", "٣", "1e3",
		strings.Repeat("(", 60) + "1" + strings.Repeat(")", 60), strings.Repeat("-", 60) + "1", strings.Repeat("1+", 300) + "1", "1234567890123456789"} {
		if e, err := Parse(text); err == nil {
			t.Errorf("%q was read as %v", text, e)
		}
	}
	if e, _ := Parse("1/(2-2)"); e != nil {
		if _, err := e.Eval(); !errors.Is(err, ErrDivideByZero) {
			t.Errorf("got %v", err)
		}
	}
}

func TestInts(t *testing.T) {
	e, err := Parse("12*(7-3)+12")
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := e.Ints(); !ok || !slices.Equal(got, []int64{12, 7, 3, 12}) {
		t.Errorf("got %v %v", got, ok)
	}
	e, _ = Parse("1.5+1")
	if _, ok := e.Ints(); ok {
		t.Error("1.5 passes for a whole number")
	}
}

// drawExpr makes a random tree.
func drawExpr(t *rapid.T, depth int) *Expr {
	if depth == 0 || rapid.IntRange(0, 3).Draw(t, "leaf") == 0 {
		return Number(rapid.Int64Range(0, 99).Draw(t, "n"))
	}
	op := rapid.SampledFrom([]byte("+-*/~")).Draw(t, "op")
	e := &Expr{Op: op, X: drawExpr(t, depth-1)}
	if op != '~' {
		e.Y = drawExpr(t, depth-1)
	}
	return e
}

func TestWrittenReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := drawExpr(t, 4)
		again, err := Parse(e.String())
		if err != nil {
			t.Fatalf("%s: %v", e, err)
		}
		v, err1 := e.Eval()
		w, err2 := again.Eval()
		if (err1 == nil) != (err2 == nil) || err1 == nil && v.Cmp(w) != 0 {
			t.Fatalf("%s: %v (%v) reads back as %v (%v)", e, v, err1, w, err2)
		}
		if f, err := Python(e.String()); err1 == nil {
			if x, _ := v.Float64(); err != nil || f != x {
				t.Fatalf("%s: Python says %v (%v), want %v", e, f, err, x)
			}
		}
	})
}

// The values and refusals are SymPy 1.14's on Python 3.11.
func TestPython(t *testing.T) {
	inf := math.Inf(1)
	for text, want := range map[string]float64{
		"15 - 4 + 95": 106, " 7//2 ": 3, "-7//2": -4, "-7%3": 2, "2^3": 1, "~3": -4, "5!": 120, "3!!": 3, "2**3!": 64, "-3!": -6, "2**3**2": 512, "-2**2": -4, "2**-1": 0.5,
		"this is not it": 1, "x is y": 0, "not x": 0, "1==1": 1, "4 == 4.0": 0, "1 or x": 1, "0 and 2": 0, "3 if 1 else 2": 3, "5 - 3 is 2": 1, "True + 1": 2,
		"x-x": 0, "0*x": 0, "1_000": 1000, "0x10": 16, "00": 0, "5.": 5, ".5": 0.5, "1e3": 1000, "1e400": inf, "10**400": inf, "oo": inf, "9**9**9": inf, "sqrt(16)": 4, "max(1,2)": 2,
		"abs(-3)": 3, "log(8,2)": 3, "ceiling(2.5)": 3, "\"12\"": 12, "1+2 # note": 3, "# note\n1": 1, "(1+\n2)": 3, "1+2\n": 3, "3 \\\n+4": 7, "4**(1/2)": 2, "--3": 3, "0/0": math.NaN(),
	} {
		got, err := Python(text)
		if err != nil || got != want && !(math.IsNaN(got) && math.IsNaN(want)) {
			t.Errorf("%q: got %v (%v), want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "The answer is 7", "1 + 2 = 3", "5/0", "5%0", "x", "x + 1", "3<4", "1+2\n3", "012", "5(3)", "2 3", "(1,2)", "1 +", "1+2;", "3×4", "$3$", "<answer>3</answer>",
		"I", "None", "zoo", "(-8)**(1/3)", "x and y", "1__0", "true", "'a'", "1 < x < 3", "import os", "is", "(1", strings.Repeat("(", 500) + "1", strings.Repeat("-", 500) + "1", strings.Repeat("9", 5000)} {
		if got, err := Python(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"12*(7-3)", "-1/3", "2--3", "((1))", "1.5+2", "9×9÷3−1", "1/0", ")("} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, err := Parse(s)
		if err != nil {
			return
		}
		v, err := e.Eval()
		if err != nil {
			return
		}
		again, err := Parse(e.String())
		if err != nil {
			if errors.Is(err, ErrTooLarge) {
				return // signs that print had no parentheses for
			}
			t.Fatalf("%q is written as %q: %v", s, e, err)
		}
		if w, err := again.Eval(); err != nil || w.Cmp(v) != 0 {
			t.Fatalf("%q = %v, written %q = %v (%v)", s, v, e, w, err)
		}
	})
}

func FuzzPython(f *testing.F) {
	for _, s := range []string{"12*(7-3)", "this is not it", "9**9**9", "3!!", "1 if x else (2,)", "max(1,2)", "'a' 'b'", "0x1f", "1<2==3", "not not x", "1<<99999", "9999!**9999!"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { _, _ = Python(s) })
}
