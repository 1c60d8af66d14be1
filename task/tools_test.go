package task

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/hone-lm/hone/internal/rng"
	"github.com/hone-lm/hone/task/toolcall"
)

func TestToolValues(t *testing.T) {
	for _, c := range []struct {
		v                         ToolValue
		value                     toolcall.Value
		compact, natural, working string
	}{
		{ToolValue{Kind: "day", Form: "after", Word: "mon", N: 2}, "wed", "2 days after mon", "2 days after Monday", "mon+2=wed"},
		{ToolValue{Kind: "day", Form: "after", Word: "sat", N: 4}, "wed", "4 days after sat", "4 days after Saturday", "sat+4=wed"},
		{ToolValue{Kind: "day", Form: "before", Word: "mon"}, "sun", "the day before mon", "the day before Monday", "mon-1=sun"},
		{ToolValue{Kind: "day", Word: "tue"}, "tue", "on tue", "on Tuesday", ""},
		{ToolValue{Kind: "count", N: 3}, int64(3), "3 items", "3 pieces", ""},
		{ToolValue{Kind: "count", Form: "sum", N: 3, M: 4}, int64(7), "3 and 4 more items", "3 and 4 more pieces", "3+4=7"},
		{ToolValue{Kind: "count", Form: "dozen", N: 2}, int64(24), "2 dozen items", "2 dozen pieces", "2*12=24"},
		{ToolValue{Kind: "minutes", Form: "hours", N: 2}, int64(120), "2 h", "for 2 hours", "2*60=120"},
		{ToolValue{Kind: "minutes", Form: "mixed", N: 1, M: 15}, int64(75), "1 h 15 min", "for 1 hours and 15 minutes", "1*60+15=75"},
		{ToolValue{Kind: "meters", Form: "km", N: 3}, int64(3000), "3 km", "over 3 kilometers", "3*1000=3000"},
		{ToolValue{Kind: "price", N: 45}, 4.5, "at 4.5", "for at most 4.5", ""},
		{ToolValue{Kind: "price", Form: "half", N: 45}, 4.5, "at half of 9", "for at most half of 9", "9/2=4.5"},
		{ToolValue{Kind: "urgent", N: 1}, true, "urgent", "at once", ""},
		{ToolValue{Kind: "urgent"}, false, "no hurry", "without hurry", ""},
		{ToolValue{Kind: "city", Word: "rome"}, "rome", "in rome", "in Rome", ""},
		{ToolValue{Kind: "person", Word: "ann"}, "ann", "for ann", "for Ann", ""},
	} {
		if err := c.v.valid(); err != nil {
			t.Error(err)
		}
		if got := c.v.value(); !toolcall.Equal(got, c.value) {
			t.Errorf("%+v is %v, want %v", c.v, got, c.value)
		}
		result := strings.Trim(toolcall.Repr(c.value), "'")
		if got := [3]string{c.v.phrase(Compact), c.v.phrase(Natural), c.v.work(result).Compact}; got != [3]string{c.compact, c.natural, c.working} {
			t.Errorf("%+v: %q", c.v, got)
		}
	}
	// Every form of every kind can be drawn, told, and has a value of its declared type.
	types := map[string]string{"str": "string", "int": "int64", "float": "float64", "bool": "bool"}
	for i := range uint64(3000) {
		d := &draw{key: rng.New(1, "values", i)}
		kind := kindNames[d.intn(len(kindNames))]
		v := drawValue(d, kind, d.intn(2) == 0)
		if err := v.valid(); err != nil || v.phrase(Compact) == "" || v.phrase(Natural) == "" || (v.Form == "") != (v.work("x") == Words{}) {
			t.Fatalf("%+v: %v", v, err)
		}
		if got := typeName(v.value()); got != types[toolKinds[kind].short] {
			t.Fatalf("%+v has a %s", v, got)
		}
		if toolcall.Same(v.other(d), v.value()) {
			t.Fatalf("%+v: the other value is the same", v)
		}
	}
}

func typeName(v toolcall.Value) string {
	switch v.(type) {
	case string:
		return "string"
	case int64:
		return "int64"
	case float64:
		return "float64"
	case bool:
		return "bool"
	}
	return "?"
}

// toolProblem is a small problem with everything in it.
func toolProblem(t testing.TB, wording Wording) (Task, *Problem) {
	task := open1(t, Ref{Name: "tool_calls"})
	data := &ToolCalls{
		Tools: []Tool{
			{"rent", "car", []ToolParam{{"name", "person"}}},
			{"book", "room", []ToolParam{{"place", "city"}, {"date", "day"}}},
			{"book", "car", []ToolParam{{"count", "count"}}},
		},
		Asks: []ToolAsk{
			{"book", "room", []ToolValue{{Kind: "day", Form: "after", Word: "mon", N: 2}, {Kind: "city", Word: "rome"}}},
			{"rent", "car", []ToolValue{{Kind: "person", Word: "ann"}}},
		},
	}
	if err := data.valid(); err != nil {
		t.Fatal(err)
	}
	return task, newProblem(task, 4, data, wording, data.answer().In(wording))
}

func TestToolQuestion(t *testing.T) {
	_, p := toolProblem(t, Compact)
	if want := "rent_car(name:str) book_room(place:str,date:str) book_car(count:int) ? book room,2 days after mon,in rome; rent car,for ann"; p.Question != want {
		t.Errorf("%s\nwant %s", p.Question, want)
	}
	if want := "[book_room(place='rome',date='wed'),rent_car(name='ann')]"; p.Answer != want {
		t.Errorf("%s, want %s", p.Answer, want)
	}
	task, q := toolProblem(t, Natural)
	for _, want := range []string{
		`{"name": "book_room", "description": "Book a room.", "parameters": {"type": "object", "properties": {"place": {"type": "string", "description": "a city"}, "date": {`,
		`"required": ["place", "date"]}}`, "Please book a room, 2 days after Monday, in Rome, then rent a car, for Ann.",
	} {
		if !strings.Contains(q.Question, want) {
			t.Errorf("no %q in\n%s", want, q.Question)
		}
	}
	if p.ID != q.ID || q.Answer != "[book_room(place='rome', date='wed'), rent_car(name='ann')]" {
		t.Errorf("%s %s", q.ID, q.Answer)
	}
	tr, err := task.Expert(p)
	if err != nil {
		t.Fatal(err)
	}
	for f, want := range map[Form]string{
		Verbose: "book_room;mon+2=wed;rent_car|" + p.Answer,
		Planned: "book_room;rent_car|book_room;mon+2=wed;rent_car|" + p.Answer,
	} {
		if got := render(t, tr, f, Compact); got != want {
			t.Errorf("%s: %s", f, got)
		}
	}
}

func TestToolCheck(t *testing.T) {
	task, p := toolProblem(t, Compact)
	_, none := toolProblem(t, Compact)
	data := *none.Data.(*ToolCalls)
	data.Tools = data.Tools[:2]
	data.Asks = []ToolAsk{{"book", "room", []ToolValue{{Kind: "city", Word: "rome"}}}}
	none = newProblem(task, 1, &data, Compact, data.answer().Compact)
	if none.Answer != "none" {
		t.Fatalf("answer %s", none.Answer)
	}
	for _, c := range []struct {
		p                   *Problem
		text                string
		verdict             Verdict
		kind, match, values float64
	}{
		{p, p.Answer, Correct, 1, 1, 1},
		{p, "[rent_car(name='Ann'), book_room(date=\"Wed\", place='Rome')]", Correct, 1, 1, 1},
		{p, `<tool_call>{"name": "book_room", "arguments": {"place": "rome", "date": "wed"}}</tool_call><tool_call>{"name": "rent_car", "arguments": {"name": "ann"}}</tool_call>`, Correct, 1, 1, 1},
		{p, "mon+2=thu|[book_room(place='rome',date='thu'),rent_car(name='ann')]", Wrong, 1, 11. / 12, 2. / 3},
		{p, "[book_room(place='rome',date='wed')]", Wrong, 1, .5, 2. / 3},
		{p, "[book_room(place='rome',date='wed'),rent_car(name='ann'),rent_car(name='ann')]", Wrong, 1, 2. / 3, 1},
		{p, "none", Wrong, 0, 0, 0},
		{p, "[]", Wrong, 0, 0, 0},
		{p, "[book_room(place='rome'", Unparsed, 0, 0, 0},
		{p, "", Unparsed, 0, 0, 0},
		{none, "none", Correct, 1, 1, 1},
		{none, "book_room;no date|none", Correct, 1, 1, 1},
		{none, "[]", Correct, 1, 1, 1},
		{none, "Sorry, the date is missing.", Correct, 1, 1, 1},
		{none, "None of the functions can do this.", Correct, 1, 1, 1},
		{none, "[book_room(place='rome')]", Wrong, 0, 0, 0},
		{none, "[book_room(", Unparsed, 0, 0, 0},
		{none, "rome", Unparsed, 0, 0, 0},
		{none, "", Unparsed, 0, 0, 0},
	} {
		r := task.Check(c.p, c.text)
		near := func(a, b float64) bool { return math.Abs(a-b) < 1e-12 }
		if r.Verdict != c.verdict || !near(r.Term("kind"), c.kind) || !near(r.Term("match"), c.match) || !near(r.Term("values"), c.values) {
			t.Errorf("%q: %+v, want %s %g %g %g", c.text, r, c.verdict, c.kind, c.match, c.values)
		}
	}
}

// What the levels promise: the number of calls, whether values are worked out, the number of tools, distractors that share a word.
func TestToolLevels(t *testing.T) {
	g := open1(t, Ref{Name: "tool_calls"})
	for level, want := range []struct {
		calls   int
		derived bool
	}{1: {1, false}, 2: {1, true}, 3: {2, false}, 4: {2, true}, 5: {3, true}} {
		if level == 0 {
			continue
		}
		refused, near, tools := 0, 0, 0
		const n = 1500
		for i := range uint64(n) {
			p, err := g.Generate(rng.New(1, "levels", i), level)
			if err != nil {
				t.Fatal(err)
			}
			data := p.Data.(*ToolCalls)
			if err := data.valid(); err != nil || len(data.Asks) != want.calls || len(data.Tools) < 5 || len(data.Tools) > 12 {
				t.Fatalf("level %d: %s: %v", level, p.Question, err)
			}
			if p.Answer == "none" {
				refused++
				continue
			}
			wanted := map[string]bool{}
			for _, a := range data.Asks {
				wanted[a.Verb+"_"+a.Noun] = true
				if derived := slices.ContainsFunc(a.Values, func(v ToolValue) bool { return v.Form != "" }); derived != want.derived {
					t.Fatalf("level %d: %s", level, p.Question)
				}
			}
			for _, tool := range data.Tools {
				tools++
				if !wanted[tool.name()] && slices.ContainsFunc(data.Asks, func(a ToolAsk) bool { return a.Verb == tool.Verb || a.Noun == tool.Noun }) {
					near++
				}
			}
			calls := data.calls()
			for i, c := range calls {
				if slices.ContainsFunc(calls[:i], func(o toolcall.Call) bool { return o.String() == c.String() }) {
					t.Fatalf("level %d: %s is wanted twice", level, c)
				}
			}
		}
		if share := float64(refused) / n; math.Abs(share-.15) > .03 {
			t.Errorf("level %d: %g cannot be met, want 0.15", level, share)
		}
		if share := float64(near) / float64(tools); level == 1 && share > .25 || level > 1 && share < .3 {
			t.Errorf("level %d: %g of the tools are near ones", level, share)
		}
	}
}

// A request is in one split, whatever the tools beside it; the two sets of names share none.
func TestToolSplits(t *testing.T) {
	task, p := toolProblem(t, Compact)
	data := *p.Data.(*ToolCalls)
	data.Tools = data.Tools[:2]
	data.Asks = []ToolAsk{data.Asks[1], {data.Asks[0].Verb, data.Asks[0].Noun, slices.Clone(data.Asks[0].Values)}}
	slices.Reverse(data.Asks[1].Values)
	if q := newProblem(task, 4, &data, Compact, ""); q.ID == p.ID || q.SplitKey != p.SplitKey {
		t.Error("the same request over other tools should be another problem of the same split")
	}
	a, b := toolWordings["plain"], toolWordings["other"]
	words := append(slices.Clone(a.verbs), a.nouns...)
	others := append(slices.Clone(b.verbs), b.nouns...)
	for _, kind := range kindNames {
		words, others = append(words, a.params[kind]...), append(others, b.params[kind]...)
	}
	for _, w := range others {
		if slices.Contains(words, w) {
			t.Errorf("%q is in both sets", w)
		}
	}
	for _, list := range [][]string{words, others} {
		slices.Sort(list)
		if n := len(list); len(slices.Compact(list)) != n {
			t.Errorf("a word stands twice in %q", list)
		}
	}
}

func TestToolRefuses(t *testing.T) {
	_, p := toolProblem(t, Compact)
	for name, change := range map[string]func(*ToolCalls){
		"no tools":    func(c *ToolCalls) { c.Tools = nil },
		"tool twice":  func(c *ToolCalls) { c.Tools = append(slices.Clone(c.Tools), c.Tools[0]) },
		"tool's name": func(c *ToolCalls) { c.Tools = []Tool{{"rent car", "x", nil}} },
		"kind":        func(c *ToolCalls) { c.Tools = []Tool{{"rent", "car", []ToolParam{{"name", "persons"}}}} },
		"kind twice":  func(c *ToolCalls) { c.Tools = []Tool{{"rent", "car", []ToolParam{{"a", "city"}, {"b", "city"}}}} },
		"word":        func(c *ToolCalls) { c.Asks = []ToolAsk{{"a", "b", []ToolValue{{Kind: "city", Word: "atlantis"}}}} },
		"form": func(c *ToolCalls) {
			c.Asks = []ToolAsk{{"a", "b", []ToolValue{{Kind: "city", Word: "rome", Form: "after"}}}}
		},
		"number":         func(c *ToolCalls) { c.Asks = []ToolAsk{{"a", "b", []ToolValue{{Kind: "urgent", N: 2}}}} },
		"negative":       func(c *ToolCalls) { c.Asks = []ToolAsk{{"a", "b", []ToolValue{{Kind: "count", N: -2}}}} },
		"nothing wanted": func(c *ToolCalls) { c.Asks = nil },
	} {
		data := *p.Data.(*ToolCalls)
		change(&data)
		if data.valid() == nil {
			t.Errorf("%s: valid", name)
		}
	}
	var r Ref
	for ref, want := range map[string]string{"tool_calls?tools=2": "within 3 to 24", "tool_calls?refuse=2": "from 0 to 1", "tool_calls?names=odd": "plain, other", "tool_calls?level=6": "outside 1 to 5"} {
		if err := r.UnmarshalText([]byte(ref)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", ref, err)
		}
	}
}
