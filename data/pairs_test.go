package data

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func pairsFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pairs.jsonl")
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// turns writes a row in one line for comparisons.
func turns(r *Row) string {
	if r.Messages == nil {
		return r.Prompt + "|" + r.Completion
	}
	var b strings.Builder
	for _, m := range r.Messages {
		b.WriteString(m.Role[:1] + ":" + m.Content + "|")
	}
	return b.String()
}

func TestReadPairs(t *testing.T) { // the row formats of TRL's documentation
	for name, c := range map[string]struct{ row, chosen, rejected string }{
		"texts":         {`{"prompt": "The sky is", "chosen": " blue.", "rejected": " green."}`, "The sky is| blue.", "The sky is| green."},
		"implicit":      {`{"chosen": "The sky is blue.", "rejected": "The sky is green."}`, "The sky is| blue.", "The sky is| green."},
		"implicit rune": {`{"chosen": "xé", "rejected": "xè"}`, "x|é", "x|è"},
		"prefix":        {`{"chosen": "ab", "rejected": "a"}`, "a|b", "a|"},
		"messages": {`{"prompt": [{"role": "user", "content": "Q"}], "chosen": [{"role": "assistant", "content": "A"}], "rejected": [{"role": "assistant", "content": "B"}]}`,
			"u:Q|a:A|", "u:Q|a:B|"},
		"implicit messages": {`{"chosen": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}], "rejected": [{"role":"user","content":"Q"}, {"role": "assistant", "content": "B"}]}`,
			"u:Q|a:A|", "u:Q|a:B|"},
		"text beside messages": {`{"prompt": "Q", "chosen": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}], "rejected": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "B"}]}`,
			"u:Q|a:A|", "u:Q|a:B|"},
	} {
		pairs, err := ReadPairs(pairsFile(t, "\n"+c.row+"\n"))
		if err != nil || len(pairs) != 1 {
			t.Errorf("%s: %d pairs, %v", name, len(pairs), err)
			continue
		}
		if a, b := turns(&pairs[0].Chosen), turns(&pairs[0].Rejected); a != c.chosen || b != c.rejected || pairs[0].Rejected.Line != 2 {
			t.Errorf("%s: %q and %q from line %d", name, a, b, pairs[0].Rejected.Line)
		}
	}
}

func TestReadLabelled(t *testing.T) {
	rows, err := ReadLabelled(pairsFile(t, `{"prompt": "Q", "completion": "A", "label": true}
{"prompt": [{"role": "user", "content": "Q"}], "completion": [{"role": "assistant", "content": "B"}], "label": false}
{"prompt": "Q", "chosen": "C", "rejected": "D"}`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i := range rows {
		got = append(got, turns(&rows[i].Row)+map[bool]string{true: "+", false: "-"}[rows[i].Desirable])
	}
	if all := strings.Join(got, " "); all != "Q|A+ u:Q|a:B|- Q|C+ Q|D-" {
		t.Error(all)
	}
}

func TestPairErrors(t *testing.T) {
	for row, want := range map[string]string{
		`{"prompt": "Q", "chosen": "A"}`:                    `has "chosen" and "rejected"`,
		`{"prompt": "Q", "chosen": "A", "rejected": "A"}`:   "the same answer",
		`{"chosen": "A", "rejected": "B"}`:                  `add the column "prompt"`,
		`{"prompt": "Q", "chosen": "A", "rejected": ["B"]}`: "write both alike",
		`{"prompt": ["Q"], "chosen": "A", "rejected": "B"}`: "both as texts",
		`{"prompt": "Q", "chosen": 1, "rejected": 2}`:       "write both as texts",
		`{"prompt": [{"role": "user", "content": "Q"}], "chosen": [{"role": "user", "content": "A"}], "rejected": [{"role": "assistant", "content": "B"}]}`:                            "one message of the assistant",
		`{"chosen": [{"role": "user", "content": "P"}, {"role": "assistant", "content": "A"}], "rejected": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "B"}]}`: "messages[0]",
		`{"chosen": [{"role": "assistant", "content": "A"}], "rejected": [{"role": "assistant", "content": "B"}]}`:                                                                     "a question",
		`{"chosen": [], "rejected": []}`: "empty list",
		"":                               "no rows",
	} {
		good := `{"prompt": "Q", "chosen": "A", "rejected": "B"}` + "\n"
		where := "pairs.jsonl:2: "
		if row == "" {
			good, where = "", "pairs.jsonl: "
		}
		if _, err := ReadPairs(pairsFile(t, good+row)); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), where) {
			t.Errorf("%s: %v", row, err)
		}
	}
	for row, want := range map[string]string{
		`{"prompt": "Q", "completion": "A", "label": 1}`:  "write true",
		`{"prompt": "Q", "completion": "A"}`:              `"label"`,
		`{"prompt": "Q", "completion": 3, "label": true}`: "write a string",
	} {
		if _, err := ReadLabelled(pairsFile(t, row)); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "pairs.jsonl:1: ") {
			t.Errorf("%s: %v", row, err)
		}
	}
}
