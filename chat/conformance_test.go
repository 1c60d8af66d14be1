package chat

import (
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"testing"
	"time"
)

// now is the time at which the vectors were rendered.
var now = time.Date(2025, 7, 10, 12, 0, 0, 0, time.UTC)

type tally struct{ passed, failed int }

func (c *tally) check(t *testing.T, name, got string, err error, want *string) {
	t.Helper()
	ok := err == nil && want != nil && got == *want || err != nil && want == nil
	if ok {
		c.passed++
	} else {
		c.failed++
	}
	switch {
	case ok:
	case err != nil:
		t.Errorf("%s: %v", name, err)
	case want == nil:
		t.Errorf("%s: rendered %.200q, Python raises", name, got)
	default:
		i := 0
		for i < len(got) && i < len(*want) && got[i] == (*want)[i] {
			i++
		}
		from := max(0, i-40)
		t.Errorf("%s: at byte %d\n got %.120q\nwant %.120q", name, i, got[from:], (*want)[from:])
	}
}

func TestPythonVectors(t *testing.T) {
	for _, file := range []string{"jinja_unit", "chat_e2e"} {
		t.Run(file, func(t *testing.T) {
			var cases []struct {
				Name, Template string
				Context        json.RawMessage
				Want           *string `json:"python_jinja2"`
			}
			readShared(t, "data/chat_templates/"+file+".json", &cases)
			var n tally
			for _, c := range cases {
				got, err := RenderContext(c.Template, c.Context, now)
				n.check(t, file+"/"+c.Name, got, err, c.Want)
			}
			t.Logf("%d of %d pass", n.passed, n.passed+n.failed)
		})
	}
}

func TestGolden(t *testing.T) {
	var golden struct {
		Templates map[string]string
		Contexts  map[string]map[string]json.RawMessage
		Cases     []struct {
			Template string `json:"template_name"`
			Context  string
			Add      bool `json:"add_generation_prompt"`
			Expected *string
		}
	}
	readShared(t, "data/chat_templates/golden_trl.json", &golden)
	var n tally
	for _, c := range golden.Cases {
		context := maps.Clone(golden.Contexts[c.Context])
		context["add_generation_prompt"] = json.RawMessage(strconv.FormatBool(c.Add))
		name := fmt.Sprintf("golden/%s/%s/%t", c.Template, c.Context, c.Add)
		if c.Context == "tool_use_object_arguments" {
			delete(context, "tools") // the renderings of this context were made without its tools: Python's Jinja gives them only so
		}
		raw, err := json.Marshal(context)
		if err != nil {
			t.Fatal(err)
		}
		got, err := RenderContext(golden.Templates[c.Template], raw, now)
		n.check(t, name, got, err, c.Expected)
	}
	if n.passed+n.failed != 208 {
		t.Errorf("%d cases", n.passed+n.failed)
	}
	t.Logf("%d of %d pass", n.passed, n.passed+n.failed)
}
