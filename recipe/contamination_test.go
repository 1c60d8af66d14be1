package recipe

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Training rows that repeat evaluation text are left out and counted, refused, or kept, as the settings say.
func TestContaminatedRows(t *testing.T) {
	sessionFor := func(file string, more ...string) (*SFTConfig, error) {
		_, cfg, err := Parse("sft", "", nil, append([]string{"data=" + file, "rows=0", "eval.task=chain_sum?levels=6&digits=2&wording=natural", "eval.problems=20"}, more...))
		if err != nil {
			t.Fatal(err)
		}
		_, err = Start(context.Background(), cfg, nil, io.Discard)
		return cfg.(*SFTConfig), err
	}
	s, err := func() ([]string, error) { // the held-out questions themselves
		_, cfg, err := Parse("sft", "", nil, nil)
		if err != nil {
			return nil, err
		}
		suites, err := (&Build{Common: cfg.Shared()}).Suites("chain_sum?levels=6&digits=2&wording=natural")
		if err != nil {
			return nil, err
		}
		var q []string
		for _, p := range suites[0].Problems[:3] {
			q = append(q, p.Question)
		}
		return q, nil
	}()
	if err != nil {
		t.Fatal(err)
	}
	var rows strings.Builder
	for _, q := range append(s, s[0], "what is the colour of the sky on a clear day?") {
		fmt.Fprintf(&rows, "{\"prompt\": %q, \"completion\": \"an answer\"}\n", q)
	}
	file := filepath.Join(t.TempDir(), "rows.jsonl")
	if err := os.WriteFile(file, []byte(rows.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := sessionFor(file); err != nil || len(c.SFT.rows) != 1 {
		t.Errorf("drop: %d rows are left, %v; want 1", len(c.SFT.rows), err)
	}
	if _, err := sessionFor(file, "eval.contamination=error"); err == nil || !strings.Contains(err.Error(), "rows.jsonl:1") {
		t.Errorf("error: %v", err)
	}
	if c, err := sessionFor(file, "eval.contamination=ignore"); err != nil || len(c.SFT.rows) != 5 {
		t.Errorf("ignore: %d rows, %v", len(c.SFT.rows), err)
	}
}
