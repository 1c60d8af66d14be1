package main

import (
	"bytes"
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// runHone runs one command line in this process.
func runHone(t testing.TB, args ...string) (code int, out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	code = hone(context.Background(), args, strings.NewReader(""), &o, &e)
	return code, o.String(), e.String()
}

// runJSON runs a command that has to succeed and decodes the object it ends in.
func runJSON[T any](t testing.TB, args ...string) T {
	t.Helper()
	code, out, errOut := runHone(t, append(args, "--json")...)
	var v T
	if code != 0 || json.Unmarshal([]byte(out), &v) != nil {
		t.Fatalf("hone %s: exit status %d, %s%s", strings.Join(args, " "), code, out, errOut)
	}
	return v
}

func TestModels(t *testing.T) {
	tiny := sharedPath(t, "models", "tiny")
	for _, name := range []string{"llama", "gpt2", "qwen3", "llama-tied-bf16", "llama-sharded"} {
		t.Run(name, func(t *testing.T) {
			src, out := filepath.Join(tiny, name), filepath.Join(t.TempDir(), "out")
			before := runJSON[modelFacts](t, "models", "inspect", src)
			runJSON[map[string]any](t, "models", "convert", src, out)
			after := runJSON[modelFacts](t, "models", "inspect", out)
			if before.Params != after.Params || before.Family != after.Family || before.Tied != after.Tied || before.Params == 0 {
				t.Errorf("before %+v, after %+v", before, after)
			}
			code, _, errOut := runHone(t, "models", "convert", src, out)
			if code != 2 || !strings.Contains(errOut, "is not empty") {
				t.Errorf("writing over a folder: exit status %d, %s", code, errOut)
			}
		})
	}
}

func TestModelsMerge(t *testing.T) {
	base, adapter := sharedPath(t, "models", "tiny", "llama"), sharedPath(t, "models", "peft", "llama-qv")
	out := filepath.Join(t.TempDir(), "out")
	runJSON[map[string]any](t, "models", "merge", base, adapter, out, "--dtype", "bf16")
	got := runJSON[modelFacts](t, "models", "inspect", out)
	if got.Dtypes["BF16"] != 30 {
		t.Errorf("merged model holds %v", got.Dtypes)
	}
}

func TestModelsRefuses(t *testing.T) {
	code, _, errOut := runHone(t, "models", "inspect", filepath.Join(t.TempDir(), "nothing"))
	if code != 1 || !strings.HasPrefix(errOut, "hone: ") || strings.Count(errOut, "\n") != 1 {
		t.Errorf("exit status %d, %q", code, errOut)
	}
}
