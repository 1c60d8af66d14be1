package toolcall

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// shared returns a path in the data folder beside the project.
func shared(t testing.TB, path string) string {
	t.Helper()
	full := filepath.Join("..", "..", "..", "shared", "data", filepath.FromSlash(path))
	if _, err := os.Stat(full); err != nil {
		t.Skipf("../shared absent: %v", err)
	}
	return full
}

func bench(t testing.TB) *Bench {
	t.Helper()
	b, err := OpenBench(shared(t, "bfcl"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The leaderboard's own verdicts on calls made from its answers and on damaged copies.
func TestRecordedVerdicts(t *testing.T) {
	text, err := os.ReadFile(shared(t, "bfcl_ast_checker/ast_checker.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	b := bench(t)
	types := map[string]int{}
	n := 0
	for line := range strings.Lines(string(text)) {
		var row struct {
			Category, ID, Kind string
			Calls              json.RawMessage
			Valid              bool
			ErrorType          *string `json:"error_type"`
		}
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatal(err)
		}
		q, err := b.Question(row.Category, row.ID)
		if err != nil {
			t.Fatal(err)
		}
		calls, err := DecodeJSON(string(row.Calls))
		if err != nil {
			t.Fatal(err)
		}
		got, err := q.Judge(calls)
		want := ""
		if row.ErrorType != nil {
			want = *row.ErrorType
		}
		if err != nil || got.Valid != row.Valid || got.ErrorType != want {
			t.Errorf("%s %s: %+v (%v), want %t %q", row.ID, row.Kind, got, err, row.Valid, want)
		}
		types[want]++
		n++
	}
	if n != 2312 || len(types) != 16 {
		t.Errorf("%d verdicts of %d types", n, len(types))
	}
}

// Verdicts of the leaderboard's checker on made-up functions, answers and calls: nested types, dictionaries, lists of them, Java and
// JavaScript code, and rows on which it raises, which are errors here.
func TestCheckerVerdicts(t *testing.T) {
	n, raised := 0, 0
	err := eachLine(filepath.Join("testdata", "verdicts.jsonl"), func(row *Dict) error {
		get := func(key string) Value { v, _ := row.Get(key); return v }
		q := &Question{ID: "row", Category: get("category").(string), Functions: get("function").(List), Answers: get("truth").(List)}
		got, err := q.Judge(get("calls"))
		valid, judged := get("valid").(bool)
		want, _ := get("error_type").(string)
		if judged != (err == nil) || judged && (got.Valid != valid || got.ErrorType != want) {
			return fmt.Errorf("%+v (%v), want %t %q", got, err, valid, want)
		}
		if n++; !judged {
			raised++
		}
		return nil
	})
	if err != nil || n < 200 || raised < 10 {
		t.Errorf("%v; %d rows, %d not judged", err, n, raised)
	}
}

// Every row's own answer is accepted, as a list of calls and through its Python and JSON texts.
func TestGold(t *testing.T) {
	b := bench(t)
	rows := 0
	for _, category := range []string{"simple_python", "multiple", "parallel", "parallel_multiple"} {
		questions, err := b.Questions(category)
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range questions {
			gold, err := q.Gold()
			if err != nil {
				t.Fatal(err)
			}
			forms := []string{Python(gold)}
			var blocks, list []string
			for _, c := range gold {
				one, err := c.JSON()
				if err != nil {
					t.Fatal(err)
				}
				list, blocks = append(list, one), append(blocks, "<tool_call>\n"+one+"\n</tool_call>")
			}
			forms = append(forms, "["+strings.Join(list, ", ")+"]", "I call two.\n"+strings.Join(blocks, "\n"))
			for _, text := range forms {
				calls, err := Parse(text)
				if err != nil {
					t.Fatalf("%s: %s: %v", q.ID, text, err)
				}
				if j, err := q.JudgeCalls(calls); err != nil || !j.Valid {
					t.Errorf("%s: %s: %+v %v", q.ID, text, j, err)
				}
				if s := Match(gold, calls); !s.Strict || s.Graded != 1 {
					t.Errorf("%s: %s: %+v", q.ID, text, s)
				}
			}
			for i, f := range q.Functions {
				if _, err := Signature(f.(*Dict)); err != nil {
					t.Errorf("%s, function %d: %v", q.ID, i, err)
				}
			}
			rows++
		}
	}
	if rows != 1000 {
		t.Errorf("%d rows", rows)
	}
}

func TestRelevance(t *testing.T) {
	one := List{NewDict("f", NewDict("a", int64(1)))}
	for _, c := range []struct {
		category string
		calls    Value
		valid    bool
		err      string
	}{
		{"irrelevance", List{}, true, ""},
		{"irrelevance", one, false, "irrelevance_error:decoder_success"},
		{"live_irrelevance", List{NewDict()}, true, ""}, // no call at all
		{"live_irrelevance", "text", true, ""},
		{"live_relevance", one, true, ""},
		{"live_relevance", List{}, false, "relevance_error:decoder_failed"},
		{"live_relevance", List{"f"}, false, "relevance_error:decoder_failed"},
		{"simple_python", "text", false, "ast_decoder:decoder_wrong_output_format"},
		{"simple_python", List{NewDict("f", NewDict(), "g", NewDict())}, false, "ast_decoder:decoder_wrong_output_format"},
	} {
		q := &Question{Category: c.category}
		if j, err := q.Judge(c.calls); err != nil || j.Valid != c.valid || j.ErrorType != c.err {
			t.Errorf("%s %s: %+v %v", c.category, Repr(c.calls), j, err)
		}
	}
}

// Models whose interface takes no dots in names write math_hypot.
func TestUnderscores(t *testing.T) {
	q, err := bench(t).Question("simple_python", "simple_python_2")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		underscores bool
		text        string
		want        string
	}{
		{false, "math.hypot(x=4, y=5)", ""},
		{false, "math_hypot(x=4, y=5)", "simple_function_checker:wrong_func_name"},
		{true, "math_hypot(x=4, y=5)", ""},
		{true, "math.hypot(x=4, y=5)", "simple_function_checker:wrong_func_name"},
		{false, "math.hypot(4, 5)", "simple_function_checker:missing_required"}, // arguments without names are dropped
	} {
		with := *q
		with.Underscores = c.underscores
		calls, err := ParsePython(c.text)
		if err != nil {
			t.Fatal(err)
		}
		j, err := with.JudgeCalls(calls)
		if err != nil || j.Valid != (c.want == "") || !j.Valid && j.ErrorType != c.want {
			t.Errorf("%t %s: %+v %v", c.underscores, c.text, j, err)
		}
	}
}

// Cases of the leaderboard's own conversion tests.
func TestConvert(t *testing.T) {
	for _, c := range []struct {
		convert                     func(string, string, string) (Value, error)
		text, declared, inner, want string
	}{
		{convertJava, "123L", "long", "", "123"},
		{convertJava, "3e-3F", "float", "", "0.003"},
		{convertJava, "3.14", "float", "", "'3.14'"},
		{convertJava, "3.14e2", "double", "", "314.0"},
		{convertJava, "true", "boolean", "", "True"},
		{convertJava, "9223372036854775808L", "long", "", "9223372036854775808"},
		{convertJava, "new int[] { 1, 2, 3 }", "Array", "", "[1, 2, 3]"},
		{convertJava, "new long[]{1L, 2, 3L}", "Array", "long", "[1, '2', 3]"},
		{convertJava, `new Object[]{1, "abc", true}`, "Array", "", "[1, 'abc', True]"},
		{convertJava, `new ArrayList<>(Arrays.asList(1, "abc", true))`, "ArrayList", "", "[1, 'abc', True]"},
		{convertJava, `new ArrayList<Character>() {{ add('a'); add('b'); }}`, "ArrayList", "char", "['a', 'b']"},
		{convertJava, "new ArrayList<>()", "ArrayList", "", "[]"},
		{convertJava, `new HashMap<String, String>() { { put("key", "value"); } }`, "HashMap", "", "{'key': 'value'}"},
		{convertJava, `new HashMap<String, Object>() {{ put("a", 123); put("b", true); }}`, "HashMap", "", "{'a': 123, 'b': True}"},
		{convertJava, "new HashMap<>() {{ }}", "HashMap", "", "{}"},
		{convertJS, "123n", "Bigint", "", "123"},
		{convertJS, "3.14", "float", "", "3.14"},
		{convertJS, "'abc'", "String", "", "'abc'"},
		{convertJS, "abc", "String", "", "'abc'"},
		{convertJS, "new Array(4, 5, 6)", "array", "integer", "[4, 5, 6]"},
		{convertJS, `["hello", "!"]`, "array", "String", "['hello', '!']"},
		{convertJS, " [ [ 1, 2 ], [ 3,   4], [5, 6]]", "array", "array", "[[1, 2], [3, 4], [5, 6]]"},
		{convertJS, "new Array([1, 2], [3, 4])", "array", "array", "[[1, 2], [3, 4]]"},
		{convertJS, `[{"key1": 1}, {"key2": 2}]`, "array", "dict", "[{'key1': 1}, {'key2': 2}]"},
		{convertJS, "{'key1': 123, 'key2': 'value', 'key3': false}", "dict", "", "{'key1': 123, 'key2': 'value', 'key3': False}"},
		{
			convertJS, `{"state": stateObject, "middlewares": ["logger"], "enhancers": ["apply", "mine"]}`, "dict", "",
			"{'state': 'stateObject', 'middlewares': ['logger'], 'enhancers': ['apply', 'mine']}",
		},
	} {
		v, err := c.convert(c.text, c.declared, c.inner)
		if err != nil || Repr(v) != c.want {
			t.Errorf("%s %s: %s (%v), want %s", c.declared, c.text, Repr(v), err, c.want)
		}
	}
	if _, err := convertJava("{1}", "Set", ""); err == nil {
		t.Error("a Set was converted")
	}
	if _, err := convertJS(strings.Repeat("a", maxCode+1), "dict", ""); err == nil {
		t.Error("endless code was read")
	}
}

func TestBenchErrors(t *testing.T) {
	row := `{"id": "a", "question": [[{"role": "user", "content": "?"}]], "function": []}`
	for name, c := range map[string]struct{ question, answer, want string }{
		"json":     {"{", "", ":1:"},
		"id":       {strings.Replace(row, `"a"`, "3", 1), "", `"id" is no text`},
		"twice":    {row + "\n\n" + row, "", ":3:"},
		"function": {strings.Replace(row, "[]", "{}", 1), "", `"function" is no list`},
		"message":  {strings.Replace(row, `"user"`, "1", 1), "", "without a role"},
		"truth":    {row, `{"id": "a", "ground_truth": 1}`, "no list of calls"},
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, "BFCL_v4_simple_python.json")
		write := func(path, text string) {
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Mkdir(filepath.Join(dir, "possible_answer"), 0o755); err != nil {
			t.Fatal(err)
		}
		write(file, c.question)
		write(filepath.Join(dir, "possible_answer", filepath.Base(file)), c.answer)
		b, err := OpenBench(dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Questions("simple_python"); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "BFCL_v4_simple_python.json") {
			t.Errorf("%s: %v, want ... %s", name, err, c.want)
		}
	}
	half := &Bench{dir: t.TempDir(), read: map[string]*category{"multiple": {byID: map[string]*Question{"a": {ID: "a"}}}}}
	if _, err := half.Question("multiple", "a"); err == nil || !strings.Contains(err.Error(), "not of one version") {
		t.Errorf("a row without an answer: %v", err)
	}
	b := &Bench{dir: t.TempDir(), read: map[string]*category{}}
	var u *UnsupportedError
	if _, err := b.Questions("multi_turn_base"); !errors.As(err, &u) {
		t.Errorf("multi_turn_base: %v", err)
	}
	for _, c := range []string{"simpel", "live_simple"} {
		if _, err := b.Questions(c); err == nil || errors.As(err, &u) {
			t.Errorf("%s: %v", c, err)
		}
	}
	if _, err := OpenBench(filepath.Join(b.dir, "absent")); err == nil {
		t.Error("an absent folder was opened")
	}
}
