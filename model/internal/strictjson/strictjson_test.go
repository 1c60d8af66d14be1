package strictjson

import (
	"errors"
	"strings"
	"testing"
)

func TestObject(t *testing.T) {
	fields, err := Object([]byte(" {\"b\": [1, {\"b\": 2}], \"a\": null, \"B\": \"x\"}\n"))
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, f := range fields {
		keys = append(keys, f.Key+"="+string(f.Raw))
	}
	if got := strings.Join(keys, " "); got != `b=[1, {"b": 2}] a=null B="x"` || !fields[1].Null() || fields[2].Null() {
		t.Error(got)
	}
	for _, c := range []struct{ json, want string }{
		{"", "ends too early"},
		{"{", "ends too early"},
		{`{"a":1`, "ends too early"},
		{`[1]`, "not a JSON object"},
		{`{"a":1,"a":2}`, `key "a" stands twice`},
		{`{"a":1,"\u0061":2}`, `key "a" stands twice`},
		{`{"a":1} {`, "follows"},
		{`{"a":1}}`, "follows"},
		{`{a:1}`, "not valid JSON"},
		{`{"a":01}`, "not valid JSON"},
		{"{\"a\":\"\xff\"}", "UTF-8"},
	} {
		if _, err := Object([]byte(c.json)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: error %v, want %q", c.json, err, c.want)
		}
	}
	if _, err := Object([]byte("\xff")); !errors.Is(err, ErrUTF8) {
		t.Error(err)
	}
	if _, err := Array([]byte("null")); err == nil {
		t.Error("null was taken for an array")
	}
}
