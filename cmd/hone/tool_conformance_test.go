package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// runVerb runs "hone tool args..." on the lines and returns one reply a line. Anything but exit status 0 and one reply a line fails the test.
func runVerb(t testing.TB, lines []any, args ...string) []map[string]json.RawMessage {
	t.Helper()
	var in, out, errOut bytes.Buffer
	enc := json.NewEncoder(&in)
	enc.SetEscapeHTML(false)
	for _, l := range lines {
		if err := enc.Encode(l); err != nil {
			t.Fatal(err)
		}
	}
	if code := hone(context.Background(), append([]string{"tool"}, args...), &in, &out, &errOut); code != 0 || errOut.Len() > 0 {
		t.Fatalf("hone tool %s: exit status %d: %s", strings.Join(args, " "), code, errOut.String())
	}
	var replies []map[string]json.RawMessage
	for _, line := range strings.SplitAfter(out.String(), "\n") {
		if line == "" {
			continue
		}
		var r map[string]json.RawMessage
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("reply %d is not an object: %v: %.200s", len(replies), err, line)
		}
		replies = append(replies, r)
	}
	if len(replies) != len(lines) {
		t.Fatalf("%d replies to %d lines", len(replies), len(lines))
	}
	return replies
}

func readJSON(t testing.TB, path string, into any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// readLines reads a JSON Lines file.
func readLines[T any](t testing.TB, path string) []T {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []T
	for i, line := range bytes.Split(bytes.TrimSpace(data), []byte("\n")) {
		var v T
		if err := json.Unmarshal(line, &v); err != nil {
			t.Fatalf("%s:%d: %v", path, i+1, err)
		}
		out = append(out, v)
	}
	return out
}

// get decodes one field of a reply; a missing field fails the test and shows the reply.
func get[T any](t testing.TB, reply map[string]json.RawMessage, field string) T {
	t.Helper()
	var v T
	raw, ok := reply[field]
	if !ok {
		t.Fatalf("no field %q in the reply %s", field, show(reply))
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("field %q: %v", field, err)
	}
	return v
}

func show(reply map[string]json.RawMessage) string {
	s, _ := json.Marshal(reply)
	if len(s) > 300 {
		s = append(s[:300], "..."...)
	}
	return string(s)
}

func TestInspectCases(t *testing.T) {
	var cases []struct{ Name, Base64, Expect string }
	readJSON(t, sharedPath(t, "data", "safetensors_cases", "cases.json"), &cases)
	var lines []any
	for _, c := range cases {
		lines = append(lines, map[string]string{"base64": c.Base64})
	}
	for i, r := range runVerb(t, lines, "inspect") {
		if ok := get[bool](t, r, "ok"); ok != (cases[i].Expect == "ok") {
			t.Errorf("%s: expected %s, got %s", cases[i].Name, cases[i].Expect, show(r))
		}
	}
	t.Logf("%d cases", len(cases))
}

func TestInspectModels(t *testing.T) {
	root := sharedPath(t, "models")
	var lines []any
	for _, pattern := range []string{"*/*/*.safetensors", "*/*/*/*.safetensors", "*/*.gguf"} {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range paths {
			lines = append(lines, map[string]string{"path": p})
		}
	}
	if len(lines) < 10 {
		t.Fatalf("only %d model files found below %s", len(lines), root)
	}
	for i, r := range runVerb(t, lines, "inspect") {
		if !get[bool](t, r, "ok") || len(get[[]tensorInfo](t, r, "tensors")) == 0 {
			t.Errorf("%v: %s", lines[i], show(r))
		}
	}
	t.Logf("%d files", len(lines))
}
