package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

type templateCase struct {
	Name     string
	Template string
	Context  json.RawMessage
	Python   *string `json:"python_jinja2"`
}

// checkFaults fails with all faults of a file.
func checkFaults(t *testing.T, file string, cases int, faults []string) {
	t.Helper()
	t.Logf("%s: %d of %d as Python renders them", file, cases-len(faults), cases)
	if len(faults) > 0 {
		t.Errorf("%d faults:\n%s", len(faults), strings.Join(faults, "\n"))
	}
}

const templateNow = "2025-07-10T12:00:00"

// TestChatTemplates renders other people's templates; Python's jinja2 is the yardstick.
func TestChatTemplates(t *testing.T) {
	for _, file := range []string{"jinja_unit.json", "chat_e2e.json"} {
		t.Run(file, func(t *testing.T) {
			var cases []templateCase
			readJSON(t, sharedPath(t, "data", "chat_templates", file), &cases)
			var lines []any
			for _, c := range cases {
				lines = append(lines, map[string]any{"template": c.Template, "context": c.Context, "now": templateNow})
			}
			var faults []string
			for i, r := range runVerb(t, lines, "render") {
				if msg := compareRendering(t, r, cases[i].Python); msg != "" {
					faults = append(faults, cases[i].Name+": "+msg)
				}
			}
			checkFaults(t, file, len(cases), faults)
		})
	}
}

// compareRendering returns "" when the reply is what Python gives; want nil means that Python raises.
func compareRendering(t *testing.T, r map[string]json.RawMessage, want *string) string {
	switch {
	case want == nil && r["error"] == nil:
		return fmt.Sprintf("expected an error, got %s", show(r))
	case want == nil:
		return ""
	case r["text"] == nil:
		return fmt.Sprintf("got %s, want %.200q", show(r), *want)
	}
	if got := get[string](t, r, "text"); got != *want {
		return fmt.Sprintf("got  %q\nwant %q", got, *want)
	}
	return ""
}

func TestChatTemplatesGolden(t *testing.T) {
	var golden struct {
		Templates map[string]string
		Contexts  map[string]map[string]json.RawMessage
		Cases     []struct {
			TemplateName        string `json:"template_name"`
			Context             string
			AddGenerationPrompt bool `json:"add_generation_prompt"`
			Expected            *string
		}
	}
	readJSON(t, sharedPath(t, "data", "chat_templates", "golden_trl.json"), &golden)
	var lines []any
	for _, c := range golden.Cases {
		context := map[string]any{}
		for k, v := range golden.Contexts[c.Context] {
			if k != "tools" || c.Context != "tool_use_object_arguments" { // the renderings of this context were made without its tools
				context[k] = v
			}
		}
		context["add_generation_prompt"] = c.AddGenerationPrompt
		lines = append(lines, map[string]any{"template": golden.Templates[c.TemplateName], "context": context, "now": templateNow})
	}
	var faults []string
	for i, r := range runVerb(t, lines, "render") {
		if msg := compareRendering(t, r, golden.Cases[i].Expected); msg != "" {
			c := golden.Cases[i]
			faults = append(faults, fmt.Sprintf("%s, %s, prompt %t: %s", c.TemplateName, c.Context, c.AddGenerationPrompt, msg))
		}
	}
	checkFaults(t, "golden_trl.json", len(golden.Cases), faults)
}
