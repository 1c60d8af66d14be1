package task

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/hone-lm/hone/task/toolcall"
)

// toolKind is what a parameter may hold.
type toolKind struct {
	short, long string // type in signatures and in descriptions
	about       string
	words       []string // for texts
	forms       []string // ways to tell a value; "" as it stands, others to be worked out
}

var (
	cities = []string{"rome", "oslo", "lima", "cairo", "delhi", "quito", "tokyo", "paris", "bern", "riga", "accra", "perth"}
	guests = []string{"ann", "bob", "cleo", "dan", "eva", "finn", "gus", "hana", "ivo", "jill", "kofi", "lena"}
	days   = []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}
)

var toolKinds = map[string]*toolKind{
	"city":    {"str", "string", "a city", cities, []string{""}},
	"person":  {"str", "string", "first name of the person it is for", guests, []string{""}},
	"day":     {"str", "string", "day of the week in three letters, mon to sun", days, []string{"", "after", "before"}},
	"count":   {"int", "integer", "how many", nil, []string{"", "sum", "dozen"}},
	"minutes": {"int", "integer", "how long, in minutes", nil, []string{"", "hours", "mixed"}},
	"meters":  {"int", "integer", "how far, in meters", nil, []string{"", "km"}},
	"price":   {"float", "number", "the highest price", nil, []string{"", "half"}},
	"urgent":  {"bool", "boolean", "whether it is urgent", nil, []string{""}},
}

var (
	kindNames    = []string{"city", "person", "day", "count", "minutes", "meters", "price", "urgent"}
	derivedKinds = []string{"day", "count", "minutes", "meters", "price"}
)

// toolWords are the words that tools are made of. The two sets share none, so that one can test what was learnt on the other.
type toolWords struct {
	verbs, nouns []string
	params       map[string][]string // by kind
}

var toolWordings = map[string]*toolWords{
	"plain": {
		verbs: []string{"book", "find", "send", "order", "rent", "play", "plan", "check", "move", "buy", "call", "hold"},
		nouns: []string{"room", "car", "taxi", "song", "table", "ticket", "bike", "lunch", "film", "boat", "tour", "desk"},
		params: map[string][]string{
			"city": {"city", "place"}, "person": {"name", "guest"}, "day": {"day", "date"}, "count": {"count", "number"},
			"minutes": {"minutes", "duration"}, "meters": {"meters", "distance"}, "price": {"price", "budget"}, "urgent": {"urgent", "fast"},
		},
	},
	"other": {
		verbs: []string{"reserve", "seek", "mail", "fetch", "hire", "start", "draft", "test", "shift", "get", "ring", "keep"},
		nouns: []string{"suite", "van", "cab", "tune", "seat", "pass", "scooter", "dinner", "show", "ferry", "trip", "bench"},
		params: map[string][]string{
			"city": {"town", "location"}, "person": {"person", "who"}, "day": {"when", "weekday"}, "count": {"qty", "amount"},
			"minutes": {"time", "length"}, "meters": {"range", "far"}, "price": {"cost", "max_price"}, "urgent": {"hurry", "priority"},
		},
	},
}

// ToolValue is a value as a request tells it.
//
//	day      "" Word; after: N days after Word; before: the day before Word
//	count    "" N; sum: N and M more; dozen: N dozen
//	minutes  "" N; hours: N hours; mixed: N hours and M minutes
//	meters   "" N; km: N km
//	price    "" N tenths; half: half of 2 N tenths
//	urgent   N is 1 for true, 0 for false
type ToolValue struct {
	Kind string `json:"kind"`
	Form string `json:"form,omitempty"`
	Word string `json:"word,omitempty"`
	N    int    `json:"n,omitempty"`
	M    int    `json:"m,omitempty"`
}

func (v *ToolValue) valid() error {
	k := toolKinds[v.Kind]
	if k == nil || !slices.Contains(k.forms, v.Form) || (k.words != nil) != (v.Word != "") || k.words != nil && !slices.Contains(k.words, v.Word) {
		return fmt.Errorf("value %+v is not of a known kind, form and word", *v)
	}
	if v.N < 0 || v.M < 0 || v.N > 1e6 || v.M > 1e6 || v.Kind == "urgent" && v.N > 1 {
		return fmt.Errorf("value %+v: the numbers are out of range", *v)
	}
	return nil
}

// drawValue draws a value; derived asks for a form that has to be worked out, where the kind has one.
func drawValue(d *draw, kind string, derived bool) ToolValue {
	k := toolKinds[kind]
	v := ToolValue{Kind: kind}
	if derived && len(k.forms) > 1 {
		v.Form = k.forms[1+d.intn(len(k.forms)-1)]
	}
	if k.words != nil {
		v.Word = k.words[d.intn(len(k.words))]
	}
	switch kind + " " + v.Form {
	case "day after":
		v.N = d.between(2, 5)
	case "count ", "minutes ":
		v.N = d.between(2, 60)
	case "count sum":
		v.N, v.M = d.between(2, 30), d.between(2, 30)
	case "count dozen":
		v.N = d.between(2, 6)
	case "minutes hours":
		v.N = d.between(2, 9)
	case "minutes mixed":
		v.N, v.M = d.between(1, 5), 5*d.between(1, 11)
	case "meters ":
		v.N = 50 * d.between(1, 60)
	case "meters km":
		v.N = d.between(2, 40)
	case "price ", "price half":
		v.N = d.between(11, 199)
	case "urgent ":
		v.N = d.intn(2)
	}
	return v
}

// value is what the argument should be.
func (v *ToolValue) value() toolcall.Value {
	n := v.N
	switch v.Kind + " " + v.Form {
	case "day after":
		return days[(slices.Index(days, v.Word)+v.N)%7]
	case "day before":
		return days[(slices.Index(days, v.Word)+6)%7]
	case "count sum":
		n += v.M
	case "count dozen":
		n *= 12
	case "minutes hours", "minutes mixed":
		n = 60*v.N + v.M
	case "meters km":
		n *= 1000
	case "price ", "price half":
		return float64(v.N) / 10
	case "urgent ":
		return v.N == 1
	}
	if v.Word != "" {
		return v.Word
	}
	return int64(n)
}

func tenths(n int) string { return strconv.FormatFloat(float64(n)/10, 'f', -1, 64) }

var dayNames = []string{"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"}

func dayName(day string) string { return dayNames[slices.Index(days, day)] }

func title(word string) string { return strings.ToUpper(word[:1]) + word[1:] }

// phrase tells the value.
func (v *ToolValue) phrase(w Wording) string {
	natural := w == Natural
	pick := func(compact, long string) string {
		if natural {
			return long
		}
		return compact
	}
	word := v.Word
	if natural && v.Kind == "day" {
		word = dayName(v.Word)
	} else if natural && word != "" {
		word = title(word)
	}
	n, m := strconv.Itoa(v.N), strconv.Itoa(v.M)
	switch v.Kind + " " + v.Form {
	case "city ":
		return "in " + word
	case "person ":
		return "for " + word
	case "day ":
		return "on " + word
	case "day after":
		return n + " days after " + word
	case "day before":
		return "the day before " + word
	case "count ":
		return n + pick(" items", " pieces")
	case "count sum":
		return n + " and " + m + pick(" more items", " more pieces")
	case "count dozen":
		return n + pick(" dozen items", " dozen pieces")
	case "minutes ":
		return pick(n+" min", "for "+n+" minutes")
	case "minutes hours":
		return pick(n+" h", "for "+n+" hours")
	case "minutes mixed":
		return pick(n+" h "+m+" min", "for "+n+" hours and "+m+" minutes")
	case "meters ":
		return pick(n+" m", "over "+n+" meters")
	case "meters km":
		return pick(n+" km", "over "+n+" kilometers")
	case "price ":
		return pick("at ", "for at most ") + tenths(v.N)
	case "price half":
		return pick("at ", "for at most ") + "half of " + tenths(2*v.N)
	case "urgent ":
		if v.N == 1 {
			return pick("urgent", "at once")
		}
		return pick("no hurry", "without hurry")
	}
	return ""
}

// work tells how the value is worked out, "" where it is copied. result takes the place of the value in corrupted steps.
func (v *ToolValue) work(result string) Words {
	n, m := strconv.Itoa(v.N), strconv.Itoa(v.M)
	switch v.Kind + " " + v.Form {
	case "day after":
		return Words{v.Word + "+" + n + "=" + result, fmt.Sprintf("%d days after %s is %s.", v.N, dayName(v.Word), result)}
	case "day before":
		return Words{v.Word + "-1=" + result, fmt.Sprintf("The day before %s is %s.", dayName(v.Word), result)}
	case "count sum":
		return Words{n + "+" + m + "=" + result, n + " + " + m + " = " + result}
	case "count dozen":
		return Words{n + "*12=" + result, n + " * 12 = " + result}
	case "minutes hours":
		return Words{n + "*60=" + result, n + " * 60 = " + result}
	case "minutes mixed":
		return Words{n + "*60+" + m + "=" + result, n + " * 60 + " + m + " = " + result}
	case "meters km":
		return Words{n + "*1000=" + result, n + " * 1000 = " + result}
	case "price half":
		return Words{tenths(2*v.N) + "/2=" + result, tenths(2*v.N) + " / 2 = " + result}
	}
	return Words{}
}

// other is a value near a given one that is not equal to it, of the same kind.
func (v *ToolValue) other(d *draw) toolcall.Value {
	switch x := v.value().(type) {
	case bool:
		return !x
	case int64:
		return max(0, x+[]int64{1, -1, 10, 2}[d.intn(4)])
	case float64:
		return x + 0.5
	case string:
		words := toolKinds[v.Kind].words
		return words[(slices.Index(words, x)+1+d.intn(len(words)-1))%len(words)]
	}
	return nil
}
