package toolcall

import (
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func read(t testing.TB, text string) []Call {
	t.Helper()
	calls, err := ParsePython(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return calls
}

// The first four rows are the checks of reasoning-action.
func TestMatch(t *testing.T) {
	for _, c := range []struct {
		gold, pred    string
		graded        float64
		strict        bool
		right, values int
	}{
		{`[book(city="rome", day=3)]`, `[book(city="rome", day=4)]`, 0.833333, false, 1, 2},
		{`[book(city="rome", day=3)]`, `[book(city="rome")]`, 0.666667, false, 1, 2},
		{`[book(city="rome", day=3)]`, `[book(city="rome", day=3), book(city="oslo", day=3)]`, 0.5, false, 2, 2},
		{`[book(city="rome", day=3)]`, `[find(), book(city="rome", day=3)]`, 0.5, false, 2, 2},
		{`[book(city="rome", day=3)]`, `[book(day=3.0, city="Rome")]`, 1, true, 2, 2},
		{`[book(city="rome", day=3)]`, `[find(city="rome", day=3)]`, 0, false, 0, 2},
		{`[book(city="rome", day=3)]`, `[]`, 0, false, 0, 2},
		{`[]`, `[book()]`, 0, false, 0, 0},
		{`[]`, `[]`, 1, true, 0, 0},
		{`[f()]`, `[f()]`, 1, true, 0, 0},
		{`[f()]`, `[f(a=1)]`, 2. / 3, false, 0, 0},
		{`[f()]`, `[f(1)]`, 2. / 3, false, 0, 0},
		{`[f(a=1), f(a=2), g()]`, `[g(), f(a=2), f(a=1)]`, 1, true, 2, 2},
		// The greedy pairing of f(a=1, b=1) with the first call would leave 2/3 + 1/3 less.
		{`[f(a=1, b=1), f(a=1)]`, `[f(a=1), f(a=1, b=1)]`, 1, true, 3, 3},
		{`[f(a=1, b=2), f(a=3)]`, `[f(a=1, b=2)]`, 0.5, false, 2, 3},
	} {
		s := Match(read(t, c.gold), read(t, c.pred))
		if math.Abs(s.Graded-c.graded) > 5e-7 || s.Strict != c.strict || s.Right != c.right || s.Values != c.values {
			t.Errorf("%s for %s: %+v", c.pred, c.gold, s)
		}
	}
}

// The assignment is the best of all permutations.
func TestAssign(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows, cols := rapid.IntRange(0, 5).Draw(t, "rows"), rapid.IntRange(0, 5).Draw(t, "cols")
		gain := make([]float64, rows*cols)
		for i := range gain {
			gain[i] = float64(rapid.IntRange(0, 6).Draw(t, "gain")) / 3
		}
		var best func(r int, used uint) float64
		best = func(r int, used uint) float64 {
			if r == rows {
				return 0
			}
			most := best(r+1, used)
			for c := range cols {
				if used>>c&1 == 0 {
					most = max(most, gain[r*cols+c]+best(r+1, used|1<<c))
				}
			}
			return most
		}
		sum, seen := 0.0, map[int]bool{}
		for r, c := range assign(gain, rows, cols) {
			if c < 0 {
				continue
			}
			if c >= cols || seen[c] {
				t.Fatalf("column %d of row %d is taken or absent", c, r)
			}
			seen[c] = true
			sum += gain[r*cols+c]
		}
		if want := best(0, 0); math.Abs(sum-want) > 1e-9 {
			t.Fatalf("sum %g, best %g", sum, want)
		}
	})
}

func TestRate(t *testing.T) {
	gold := read(t, `[book(city="rome", day=3), rent(kind="bike")]`)
	for text, want := range map[string]Rating{
		`[book(city="rome", day=3), rent(kind="bike")]`: Excellent,
		`[rent(kind="bike"), book(day=3, city="Rome")]`: Excellent,
		"":                              Excellent,
		"[":                             Excellent,
		"[bo":                           Excellent,
		"[book(":                        Excellent,
		"[book(ci":                      Excellent,
		"[book(city=":                   Excellent,
		`[book(city="ro`:                Excellent,
		`[book(city="rome", `:           Excellent,
		`[book(city="rome", day=9`:      Excellent, // 9 may still become 93
		`[book(city="rome", day=3), `:   Excellent,
		`[book(city="rome", day=3), re`: Excellent,
		`[book(city="oslo", `:           Acceptable,
		`[book(city="rome", day=4), rent(kind="bike")]`: Acceptable,
		`[book(city="oslo", day=4), `:                   Fair,
		`[book(town=`:                                   Fair,
		`[book(city="rome")`:                            Fair, // a closed call lacks a parameter
		`[book(city="rome", city=`:                      Fair,
		`[book("rome", `:                                Fair,
		`[book(city="rome", day=3, day=3)`:              Fair,
		"[find(":                                        Poor,
		"[fi":                                           Poor,
		`[book(city="rome", day=3), book(`:              Poor,
		`[book(city="rome", day=3), bo`:                 Poor,
		`[book(city="rome", day=3)]`:                    Poor, // one call short
		`[book(city="rome", day=3), rent(kind="bike"), rent()`: Poor,
		`[book(city="rome" day`:                                Poor,
		"[]":                                                   Poor,
		"Sorry":                                                Poor,
		"[1":                                                   Poor,
		`[book(city="rome", day=3), rent(kind="bike")] and`: Poor,
	} {
		if got := Rate(gold, text); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	for text, want := range map[string]Rating{"[]": Excellent, "No tool fits.": Excellent, "[": Excellent, "[f": Poor, "[f(": Poor, "[f()]": Poor, "[f'g(": Poor, "f(a": Poor, "a=2)]": Poor, "None (I looked) fits.": Excellent} {
		if got := Rate(nil, text); got != want {
			t.Errorf("%s where no call is right: %s, want %s", text, got, want)
		}
	}
	// Every beginning of the right answer is excellent.
	text := Python(gold)
	for i := range text {
		if got := Rate(gold, text[:i]); got != Excellent {
			t.Errorf("%s: %s", text[:i], got)
		}
	}
}

func TestPieces(t *testing.T) {
	for text, want := range map[string]string{
		`[f(a=1, b="x. y"), g()]`: `[f(|a=|1, |b=|"x. |y"), |g(|)]`,
		"1.5, 2":                  "1.5, |2",
		", a":                     ", |a",
		"":                        "",
	} {
		if got := strings.Join(Pieces(text), "|"); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func TestOverlap(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want float64
	}{{"a b c", "b c d e", 2. / 3}, {"a a b", "a", 1}, {"a", "b", 0}, {"", "a", 0}, {" ", "", 0}} {
		if got := Overlap(c.a, c.b); math.Abs(got-c.want) > 1e-12 || got != Overlap(c.b, c.a) {
			t.Errorf("%q %q: %g, want %g", c.a, c.b, got, c.want)
		}
	}
}

func TestDifficulty(t *testing.T) {
	order := []Difficulty{{1, 9, 900}, {2, 2, 100}, {2, 3, 50}, {2, 3, 60}}
	if !slices.IsSortedFunc(order, func(a, b Difficulty) int {
		if a.Less(b) {
			return -1
		}
		return 1
	}) || order[0].Less(order[0]) {
		t.Errorf("%v is not in order", order)
	}
	d, err := DifficultyOf(List{NewDict("name", "f"), NewDict("name", "g")}, read(t, "[f(), f()]"))
	if want := (Difficulty{2, 2, len(`{"name": "f"}`)*2 + 1}); err != nil || d != want {
		t.Errorf("%+v %v, want %+v", d, err, want)
	}
}

func TestSchemas(t *testing.T) {
	v, err := DecodeJSON(`[{"name": "m.f", "description": "<d>", "parameters": {"type": "dict", "properties": {
		"type": {"type": "string", "enum": ["dict", "float"]}, "x": {"type": "float", "default": 1.0}, "l": {"type": "tuple", "items": {"type": "any"}},
		"d": {"type": "dict", "properties": {"properties": {"type": "integer"}}}, "odd": {"type": "HashSet"}}, "required": ["x", "d"]}}]`)
	if err != nil {
		t.Fatal(err)
	}
	list := v.(List)
	got, err := Tools(list)
	want := `[{"type": "function", "function": {"name": "m.f", "description": "<d>", "parameters": {"type": "object", "properties": {` +
		`"type": {"type": "string", "enum": ["dict", "float"]}, "x": {"type": "number", "default": 1.0}, "l": {"type": "array", "items": {"type": "string"}}, ` +
		`"d": {"type": "object", "properties": {"properties": {"type": "integer"}}}, "odd": {"type": "string"}}, "required": ["x", "d"]}}}]`
	if err != nil || got != want {
		t.Errorf("%s (%v), want %s", got, err, want)
	}
	s, err := Signature(list[0].(*Dict))
	if want := "m.f(type:string?, x:float, l:tuple?, d:dict, odd:HashSet?)"; err != nil || s != want {
		t.Errorf("%s (%v)", s, err)
	}
	docs, err := Docs(append(list, list[0]))
	if err != nil || strings.Count(docs, "\n") != 1 || !strings.Contains(Instruction(docs), `"type": "tuple"`) {
		t.Errorf("%s (%v)", docs, err)
	}
	for _, bad := range []List{{"f"}, {nil}} {
		if _, err := Tools(bad); err == nil {
			t.Errorf("%s was taken for functions", Repr(bad))
		}
	}
}
