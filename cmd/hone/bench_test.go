package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hone-lm/hone/bench"
	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/model"
	"github.com/hone-lm/hone/run/report"
	"github.com/hone-lm/hone/tensor"
)

// Parameters are counted as the table says, and as the model holds them but for the norms.
func TestBenchParams(t *testing.T) {
	for name, want := range map[string]string{"1.0M": "0.87", "5.4M": "5.24", "15.5M": "15.19", "135M": "134.5"} {
		s, err := shapeOf(name)
		if err != nil {
			t.Fatal(err)
		}
		digits := len(want) - strings.IndexByte(want, '.') - 1
		if got := fmt.Sprintf("%.*f", digits, float64(s.params())/1e6); got != want {
			t.Errorf("%s has %s million parameters, want %s", name, got, want)
		}
	}
	if big, _ := shapeOf("135M"); big.params()+(2*30+1)*576 != 134515008 { // what SmolLM2-135M's file holds
		t.Errorf("135M has %d parameters in its matrices", big.params())
	}
	for _, s := range benchShapes[:3] {
		m, err := model.New(s.config, 1)
		if err != nil {
			t.Fatal(err)
		}
		norms := (2*s.config.Layers + 1) * s.config.Hidden
		if m.Count() != s.params()+norms {
			t.Errorf("%s: the model holds %d numbers, counted are %d and %d of norms", s.name, m.Count(), s.params(), norms)
		}
	}
}

// The shapes are those of the table: SmolLM2-135M among them.
func TestBenchShapes(t *testing.T) {
	var got []string
	for _, s := range benchShapes {
		c := s.config
		got = append(got, fmt.Sprintf("%s: %d wide, %d layers, %d/%d heads, %d inner, vocabulary %d, %d x %d", s.name, c.Hidden, c.Layers, c.Heads, c.KVHeads, c.Inner, c.Vocab, s.docs, s.tokens))
	}
	for _, want := range []string{
		"1.0M: 128 wide, 4 layers, 4/4 heads, 352 inner, vocabulary 512, 16 x 64",
		"5.4M: 256 wide, 6 layers, 8/8 heads, 768 inner, vocabulary 512, 16 x 256",
		"15.5M: 288 wide, 6 layers, 6/6 heads, 768 inner, vocabulary 32000, 4 x 256",
		"135M: 576 wide, 30 layers, 9/3 heads, 1536 inner, vocabulary 49152, 8 x 256",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("no shape is %s; there are %q", want, got)
		}
	}
}

// keys returns the names of an object's fields.
func keys(t *testing.T, object string) []string {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(object), &m); err != nil {
		t.Fatalf("%v: %s", err, object)
	}
	var names []string
	for k := range m {
		names = append(names, k)
	}
	slices.Sort(names)
	return names
}

// Every verb prints exactly the fields that scripts read.
func TestBenchFields(t *testing.T) {
	if testing.Short() {
		t.Skip("measures for several seconds")
	}
	plain := []string{"case", "gflops", "peak_gflops", "peak_rss_bytes", "ratio", "tokens_per_s"}
	with := func(more ...string) []string { return slices.Sorted(slices.Values(append(more, plain...))) }
	for _, c := range []struct {
		args string
		want []string
	}{
		{"train --shape 1.0M", plain},
		{"train --shape 1.0M --lora --docs 2 --tokens 32 --threads 1", plain},
		{"decode --shape 1.0M --streams 2 --prompt 4 --new 4", plain},
		{"decode --shape 1.0M --prompt 4 --new 4", with("gb_per_s", "peak_gb_per_s")},
		{"prefill --shape 1.0M --prompt 64", plain},
		{"grpo --problems 4 --samples 2 --new 8", with("step_s", "grading_share")},
	} {
		code, out, errOut := runHone(t, append(append([]string{"bench"}, strings.Fields(c.args)...), "--time", "1ms", "--json")...)
		if code != 0 {
			t.Errorf("hone bench %s: exit status %d, %s", c.args, code, errOut)
			continue
		}
		if got := keys(t, out); !slices.Equal(got, c.want) {
			t.Errorf("hone bench %s prints the fields %v, want %v", c.args, got, c.want)
		}
		var r benchResult
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatal(err)
		}
		if !(r.TokensPerSec > 0 && r.Ratio > 0 && r.PeakGFlops > 0 && r.PeakRSS > 1<<20) {
			t.Errorf("hone bench %s: %+v", c.args, r)
		}
	}
}

// Work is what the formula says: the ratio of gflops to tokens/s is 6 parameters, 4 with an adapter, 2 without a gradient.
func TestBenchWork(t *testing.T) {
	if testing.Short() {
		t.Skip("measures for several seconds")
	}
	for args, want := range map[string]float64{"train --shape 1.0M": 6 * 868352, "train --shape 1.0M --lora": 4 * 868352, "decode --shape 1.0M --streams 2 --prompt 4 --new 4": 2 * 868352,
		"prefill --shape 1.0M --prompt 64": 2 * (868352 - 512*128)} {
		r := runJSON[benchResult](t, append(append([]string{"bench"}, strings.Fields(args)...), "--time", "1ms")...)
		if got := r.GFlops * 1e9 / r.TokensPerSec; got < want*0.999 || got > want*1.001 {
			t.Errorf("hone bench %s counts %.0f operations a token, want %.0f", args, got, want)
		}
	}
}

// Rows name commands that exist, and every promise of a shape of gemm is met with in the products that are run.
func TestBenchTargets(t *testing.T) {
	k, err := newParser(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]bool{}
	for _, row := range benchTargets {
		rows[row.command] = true
		if _, err := k.Parse(append([]string{"bench"}, row.on(1)...)); err != nil {
			t.Errorf("hone bench %s: %v", row.command, err)
		}
	}
	for _, s := range benchSpeedups {
		if !rows[s.command] || !rows[s.over] {
			t.Errorf("%s over %s: both have to be rows", s.command, s.over)
		}
	}
	seen := map[string]bool{}
	for _, s := range gemmShapes {
		for _, form := range s.forms {
			name := fmt.Sprintf("gemm f32 %s %dx%dx%d, 2 threads", form, s.m, s.k, s.n)
			if got := benchTargets[0].target(name, 2); got > 0 {
				seen[fmt.Sprintf("f32 %dx%dx%d", s.m, s.k, s.n)] = true
			}
		}
	}
	for _, p := range productTargets {
		if strings.HasPrefix(p.shape, "f32") && !seen[p.shape] {
			t.Errorf("nothing is measured for %s", p.shape)
		}
	}
}

func TestBenchAim(t *testing.T) {
	for _, c := range []struct {
		value, target float64
		atMost, met   bool
	}{{0.5, 0.4, false, true}, {0.3, 0.4, false, false}, {0.4, 0.4, false, true}, {0.1, 0.2, true, true}, {0.3, 0.2, true, false}, {0.2, 0.2, true, true}} {
		if l := (benchLine{Value: c.value}).aim(c.target, c.atMost); l.Met == nil || *l.Met != c.met {
			t.Errorf("%+v: met is %v", c, l.Met)
		}
	}
	if l := (benchLine{Value: 1}).aim(0, false); l.Met != nil {
		t.Error("a row without a target has a verdict")
	}
}

// The page of hone bench scale: every point is a row with its command, and shares are of the limit that holds.
func TestScalePage(t *testing.T) {
	k, err := newParser(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	limits := benchPeaks{PeakGF: 100, PeakGB: 20, Kernels: "go"}
	for _, quick := range []bool{false, true} {
		curves := scaleCurves(quick)
		for i := range curves {
			for j := range curves[i].points {
				p := &curves[i].points[j]
				if _, err := k.Parse(append(append([]string{"bench"}, strings.Fields(p.command)...), "--plan")); err != nil {
					t.Errorf("%s: %v", p.command, err)
				}
				p.result = benchResult{TokensPerSec: 1000, GFlops: 5, PeakGFlops: 100, PeakRSS: 3 << 20, Planned: 2 << 20}
			}
		}
		page := (&benchScaleCmd{Quick: quick}).page(curves, limits)
		for _, c := range curves {
			if !strings.Contains(page, "## "+c.title) {
				t.Errorf("no section on %s", c.title)
			}
			for _, p := range c.points {
				if !strings.Contains(page, "`bench "+p.command+"`") {
					t.Errorf("no row of %s", p.command)
				}
			}
		}
		streams := curves[2]
		for _, want := range map[int]float64{0: 0.5, len(streams.points) - 1: 0.05} { // 1 stream: 20 GB/s allow 10 GFLOP/s; many: the FMA peak
			found := false
			for i := range streams.points {
				found = found || streams.points[i].share(limits) == want
			}
			if !found {
				t.Errorf("no point of the streams has the share %g", want)
			}
		}
		if err := report.WriteCurves(io.Discard, scalePanels(curves, limits)); err != nil {
			t.Error(err)
		}
	}
}

func TestReadPeer(t *testing.T) {
	r, err := readPeer([]byte("a warning of some library\n{\"peer\": \"TRL 1.16\", \"case\": \"grpo\", \"tokens_per_s\": 6826.7, \"step_s\": 3.0}\n"))
	if err != nil || r.Peer != "TRL 1.16" || r.TokensPerSec != 6826.7 || r.StepSeconds != 3 {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err := readPeer([]byte(`{"peer": "PyTorch eager", "missing": ["torch"], "install": "pip install torch"}`)); err != nil || len(r.Missing) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	for _, bad := range []string{"", "Traceback", `{"peer": "x"}`, `{"tokens_per_s": 3}`} {
		if _, err := readPeer([]byte(bad)); err == nil {
			t.Errorf("%q was taken for a result", bad)
		}
	}
}

// Every peer stands beside a row of the table, and its script takes the flags.
func TestPeerRows(t *testing.T) {
	for _, p := range benchPeerRows {
		if !slices.ContainsFunc(benchTargets, func(row benchTarget) bool { return row.command == p.command }) {
			t.Errorf("%s %s stands beside %s, which is no row", p.script, p.args, p.command)
		}
		if _, err := bench.Peers.ReadFile("peers/" + p.script); err != nil {
			t.Error(err)
		}
	}
}

// The scripts' shapes are hone's.
func TestPeerShapes(t *testing.T) {
	text, err := bench.Peers.ReadFile("peers/common.py")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range benchShapes {
		c := s.config
		want := fmt.Sprintf("%q: (%d, %d, %d, %d, %d, %d, %d, %d),", s.name, c.Hidden, c.Layers, c.Heads, c.KVHeads, c.Inner, c.Vocab, s.docs, s.tokens)
		if !strings.Contains(string(text), want) {
			t.Errorf("bench/peers/common.py lacks %s", want)
		}
	}
}

// The scripts compile, say what is missing, and read the answer of llama-bench, where there is a Python.
func TestPeerScripts(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3 to run the scripts with")
	}
	dir := filepath.Join("..", "..", "bench")
	run := func(args ...string) (string, error) {
		cmd := exec.Command(python, args...)
		cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
		out, err := cmd.Output()
		return string(out), err
	}
	scripts, err := filepath.Glob(filepath.Join(dir, "peers", "*.py"))
	if err != nil || len(scripts) != 5 {
		t.Fatalf("%v: scripts %v", err, scripts)
	}
	for _, s := range scripts {
		if out, err := run("-c", "import ast, sys; ast.parse(open(sys.argv[1]).read())", s); err != nil {
			t.Errorf("%s: %v %s", s, err, out)
		}
	}
	for new, want := range map[string]float64{"112": 59.3, "0": 696.6} {
		out, err := run(filepath.Join(dir, "peers", "llama_cpp.py"), "--shape", "135M", "--threads", "2", "--new", new, "--recorded", filepath.Join(dir, "testdata", "llama-bench.json"))
		if err != nil {
			t.Fatal(err)
		}
		if r, err := readPeer([]byte(out)); err != nil || r.TokensPerSec != want || r.Peer != "llama.cpp 6341" {
			t.Errorf("--new %s: %+v, %v", new, r, err)
		}
	}
}

// docs/BENCHMARKS.md holds the list of what is aimed at.
func TestBenchmarksPage(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "BENCHMARKS.md"))
	if err != nil {
		t.Fatal(err)
	}
	code, list, errOut := runHone(t, "bench", "--list", "--markdown")
	if code != 0 || strings.Count(list, "\n") < 25 {
		t.Fatalf("exit status %d, %s%s", code, list, errOut)
	}
	if !strings.Contains(string(page), list) {
		t.Errorf("docs/BENCHMARKS.md holds another list than hone bench --list --markdown prints:\n%s", list)
	}
}

// A row that cannot be measured says why and does not end the table; what the engine does not offer is no failure.
func TestBenchWithout(t *testing.T) {
	var out bytes.Buffer
	table := &benchTable{a: &app{ctx: context.Background(), out: &out}, c: &benchAllCmd{}}
	missing := (&engine.NotYet{Engine: "local", What: "precision: bf16"}).Error()
	for _, why := range []string{"hone bench train: exit status 1: " + missing, "hone bench train: signal: killed"} {
		if err := table.without(benchLine{Command: "hone bench train"}, errors.New(why)); err != nil {
			t.Fatal(err)
		}
	}
	if table.failed != 1 || !strings.Contains(out.String(), "not offered by the embedded engine yet") || !strings.Contains(out.String(), "signal: killed") {
		t.Errorf("%d failed: %s", table.failed, &out)
	}
}

// Every verb takes bf16: it measures on a processor that has the instruction, and says what is missing on others.
func TestBenchBF16(t *testing.T) {
	if testing.Short() {
		t.Skip("measures for several seconds")
	}
	for _, args := range []string{"gemm", "train --shape 1.0M --docs 2 --tokens 32", "decode --shape 1.0M --prompt 4 --new 4", "prefill --shape 1.0M --prompt 64", "grpo --problems 4 --samples 2 --new 8"} {
		code, out, errOut := runHone(t, append(append([]string{"bench"}, strings.Fields(args)...), "--precision", "bf16", "--time", "1ms", "--json")...)
		if !tensor.HasBF16() {
			if code == 0 || !strings.Contains(errOut, "AVX512_BF16") {
				t.Errorf("hone bench %s --precision bf16: exit status %d, %s", args, code, errOut)
			}
			continue
		}
		for line := range strings.Lines(out) {
			var r benchResult
			if err := json.Unmarshal([]byte(line), &r); err != nil || !(r.Ratio > 0 && strings.Contains(r.Case, "bf16")) {
				t.Errorf("hone bench %s --precision bf16: %v, %s", args, err, line)
			}
		}
		if code != 0 || out == "" {
			t.Errorf("hone bench %s --precision bf16: exit status %d, %s", args, code, errOut)
		}
	}
}
