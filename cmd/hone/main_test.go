package main

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	if os.Getenv("HONE_TEST_MAIN") != "" { // this process is a hone that another test started
		failpoint = killAt(os.Getenv("HONE_KILL_AT"))
		os.Exit(hone(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	testscript.Main(m, map[string]func(){"hone": main})
}

// shared is the folder with other people's data and test vectors beside the project; tests that need it are skipped without it.
var shared, _ = filepath.Abs(filepath.Join("..", "..", "..", "shared"))

func sharedPath(t testing.TB, parts ...string) string {
	t.Helper()
	path := filepath.Join(append([]string{shared}, parts...)...)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("../shared absent: %s is not there, so this conformance test has nothing to check against", filepath.Join(parts...))
	}
	return path
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: filepath.Join("testdata", "script")})
}

// TestHelp builds the help of every command: tags that kong cannot read and commands without a help line show up here.
func TestHelp(t *testing.T) {
	k, err := newParser(os.Stdout, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	for _, leaf := range k.Model.Leaves(false) {
		if leaf.Help == "" {
			t.Errorf("%s has no help", leaf.FullPath())
		}
		for _, f := range leaf.Flags {
			if f.Help == "" {
				t.Errorf("%s: --%s has no help", leaf.FullPath(), f.Name)
			}
		}
	}
}

// TestToolPage: docs/tool.md describes every verb.
func TestToolPage(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "tool.md"))
	if err != nil {
		t.Fatal(err)
	}
	k, err := newParser(os.Stdout, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	verbs := 0
	for _, leaf := range k.Model.Leaves(false) {
		if leaf.Parent.Name == "tool" {
			verbs++
			if !regexp.MustCompile(`(?m)^### .*\b` + leaf.Name + `\b`).Match(page) {
				t.Errorf("docs/tool.md has no section on %s", leaf.Name)
			}
		}
	}
	if verbs < 14 {
		t.Errorf("only %d verbs found", verbs)
	}
}

// killAt returns a failpoint that kills this process the n-th time that "name:n" is reached; nil for "".
func killAt(where string) func(name string) {
	at := strings.LastIndexByte(where, ':')
	if at < 0 {
		return nil
	}
	left, _ := strconv.Atoi(where[at+1:])
	return func(name string) {
		if name != where[:at] {
			return
		}
		if left--; left == 0 {
			p, _ := os.FindProcess(os.Getpid())
			p.Kill()
			select {}
		}
	}
}
