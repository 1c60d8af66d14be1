package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestToolcheckVerdicts sends the leaderboard's recorded rows through the verb.
func TestToolcheckVerdicts(t *testing.T) {
	type row struct {
		Category  string          `json:"category"`
		ID        string          `json:"id"`
		Calls     json.RawMessage `json:"calls"`
		Valid     bool            `json:"valid"`
		ErrorType *string         `json:"error_type"`
	}
	rows := readLines[row](t, sharedPath(t, "data", "bfcl_ast_checker", "ast_checker.jsonl"))
	var lines []any
	for _, r := range rows {
		lines = append(lines, map[string]any{"category": r.Category, "id": r.ID, "calls": r.Calls})
	}
	for i, r := range runVerb(t, lines, "toolcheck", "--bfcl", sharedPath(t, "data", "bfcl")) {
		errorType := get[*string](t, r, "error_type")
		if get[bool](t, r, "valid") != rows[i].Valid || (errorType == nil) != (rows[i].ErrorType == nil) || errorType != nil && *errorType != *rows[i].ErrorType {
			t.Errorf("%s: %s, want %t %s", rows[i].ID, show(r), rows[i].Valid, asJSON(rows[i].ErrorType))
		}
	}
	if len(rows) != 2312 {
		t.Errorf("%d rows", len(rows))
	}
}

func TestToolcheckLines(t *testing.T) {
	dir := sharedPath(t, "data", "bfcl")
	for _, c := range []struct{ line, want string }{
		{`{"category": "irrelevance", "id": "irrelevance_3", "calls": []}`, `{"error_type":null,"valid":true}`},
		{`{"category": "irrelevance", "id": "irrelevance_3", "calls": [{"f": {}}]}`, `{"error_type":"irrelevance_error:decoder_success","valid":false}`},
		{`{"category": "simple_python", "id": "simple_python_0", "calls": "text"}`, `{"error_type":"ast_decoder:decoder_wrong_output_format","valid":false}`},
		{`{"category": "simple_python", "id": "simple_python_9999", "calls": []}`, `has no row \"simple_python_9999\"`},
		{`{"category": "live_simple", "id": "live_simple_0", "calls": []}`, `BFCL_v4_live_simple.json: no such file`},
		{`{"category": "web_search_base", "id": "web_search_0", "calls": []}`, `{"unsupported":"web_search_base"}`},
	} {
		if got := asJSON(replyTo(t, c.line, "toolcheck", "--bfcl", dir)); !strings.Contains(got, c.want) {
			t.Errorf("%s: %s, want %s", c.line, got, c.want)
		}
	}
}
