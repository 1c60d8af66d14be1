package main

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"math"
	"path/filepath"
	"strings"
	"testing"
)

// lossFile is a file of loss vectors: inputs, and cases that point to them.
type lossFile struct {
	Inputs []json.RawMessage
	Cases  []struct {
		Input      int
		Config     json.RawMessage
		Dtype      string
		Loss       float64
		GradLogits [][][]float64 `json:"grad_logits"`
	}
}

// checkLosses sends every case through the verb and compares the loss and every derivative.
func checkLosses(t *testing.T, source string, file lossFile) {
	t.Helper()
	var lines []any
	for _, c := range file.Cases {
		lines = append(lines, map[string]any{"source": source, "config": c.Config, "inputs": file.Inputs[c.Input]})
	}
	for i, r := range runVerb(t, lines, "loss") {
		c := file.Cases[i]
		bound := 1e-7 // nine digits, and a KL baseline that was averaged in float32
		if c.Dtype == "float32" {
			bound = 2e-5
		}
		if got := get[float64](t, r, "loss"); math.Abs(got-c.Loss) > bound*math.Max(math.Abs(c.Loss), 1e-2) {
			t.Errorf("case %d, %s: loss %.10g, want %.10g", i, c.Config, got, c.Loss)
		}
		got := get[[][][]float64](t, r, "grad_logits")
		if len(got) != len(c.GradLogits) {
			t.Fatalf("case %d: %d rows of the gradient, want %d", i, len(got), len(c.GradLogits))
		}
		for row := range got {
			for at := range got[row] {
				if len(got[row]) != len(c.GradLogits[row]) || len(got[row][at]) != len(c.GradLogits[row][at]) {
					t.Fatalf("case %d: the gradient of row %d has another shape", i, row)
				}
				for id, g := range got[row][at] {
					if want := c.GradLogits[row][at][id]; math.Abs(g-want) > bound*math.Max(math.Abs(want), 1e-2) {
						t.Errorf("case %d, %s: row %d position %d id %d: derivative %.10g, want %.10g", i, c.Config, row, at, id, g, want)
					}
				}
			}
		}
	}
	t.Logf("%d cases", len(file.Cases))
}

func TestLossDPO(t *testing.T) {
	var f lossFile
	readJSON(t, sharedPath(t, "data", "loss_vectors", "trl_dpo.json"), &f)
	checkLosses(t, "trl_dpo", f)
}

func TestLossKTO(t *testing.T) {
	var f lossFile
	readJSON(t, sharedPath(t, "data", "loss_vectors", "trl_kto.json"), &f)
	checkLosses(t, "trl_kto", f)
}

// TestLossCombinations: losses with f-divergences, LD-DPO, WPO, smoothing and weights together, as TRL's own source gives them
// (conformance/trl_losses.py wrote the file).
func TestLossCombinations(t *testing.T) {
	for _, source := range []string{"trl_dpo", "trl_kto"} {
		var f lossFile
		readJSON(t, filepath.Join("testdata", source+".json"), &f)
		checkLosses(t, source, f)
	}
}

const (
	goodInputs = `{"input_ids": [[0, 1], [0, 0]], "completion_mask": [[0, 1], [0, 1]], "logits": [[[0, 1], [0, 0]], [[0, 1], [0, 0]]],
		"ref_logits": [[[0, 0], [0, 0]], [[0, 0], [0, 0]]], "note": "n", "attention_mask": [[1, 1], [1, 1]]`
	ktoInputs = goodInputs + `, "label": [true, false]`
)

func TestLossRefuses(t *testing.T) {
	swap := func(s, old, with string) string {
		if !strings.Contains(s, old) {
			t.Fatalf("%q is not in %q", old, s)
		}
		return strings.Replace(s, old, with, 1)
	}
	dpo := func(config, inputs string) string {
		return `{"source": "trl_dpo", "config": {"loss_types": ["sigmoid"]` + config + `}, "inputs": ` + inputs + `}}`
	}
	kto := func(config, inputs string) string {
		return `{"source": "trl_kto", "config": {"loss_type": ` + config + `}, "inputs": ` + inputs + `}}`
	}
	for _, c := range []struct{ line, want string }{
		{`{"source": "trl_dpo", "inputs": {}}`, `field "config" is missing`},
		{`{"source": "trl_dpo", "config": {"loss_types": ["sft"]}}`, `field "inputs" is missing`},
		{`{"config": {}, "inputs": {}}`, `field "source" is missing`},
		{`{"source": "trl_dpo", "config": {}, "inputs": {}, "seed": 1}`, `unknown field "seed"`},
		{`{"source": "trl_dpo", "case": {}}`, `field "case" does not belong to source trl_dpo`},
		{dpo(`, "betas": 1`, goodInputs), `config: unknown field "betas": did you mean "beta"`},
		{dpo(`, "beta": "1"`, goodInputs), `config: field "beta" holds a string`},
		{dpo(`, "beta": 0`, goodInputs), `beta is 0`},
		{dpo(`, "loss_weights": [1, 2]`, goodInputs), `1 loss_types and 2 loss_weights`},
		{dpo(`, "loss_weights": [null]`, goodInputs), `a null stands`},
		{dpo(`, "ld_alpha": 2`, goodInputs), `ld_alpha is 2`},
		{dpo(`, "f_divergence_type": "tv"`, goodInputs), `unknown f_divergence "tv"`},
		{swap(dpo("", goodInputs), `"sigmoid"`, `"sigmod"`), `unknown loss "sigmod"`},
		{swap(dpo("", goodInputs), `"sigmoid"`, `"exo_pair"`), `exo_pair with label_smoothing 0`},
		{swap(dpo("", goodInputs), `"sigmoid"`, ``), `0 loss_types`},
		{dpo("", goodInputs+`, "labels": []`), `inputs: unknown field "labels"`},
		{dpo("", swap(goodInputs, `[[0, 1], [0, 0]], "comp`, `[[0, 2], [0, 0]], "comp`)), `row 0, token 1: id 2`},
		{dpo("", swap(goodInputs, `k": [[0, 1]`, `k": [[1, 1]`)), `row 0: token 0 is in the mask`},
		{dpo("", swap(goodInputs, `k": [[0, 1]`, `k": [[0, 2]`)), `completion_mask[0][1] is 2`},
		{dpo("", swap(goodInputs, `"logits": [[[0, 1]`, `"logits": [[[0]`)), `row 0, position 0: 1 logits and 2`},
		{dpo("", swap(goodInputs, `"logits": [[[0, 1]`, `"logits": [[[null, 1]`)), `a null stands`},
		{dpo("", swap(goodInputs, `"logits": [[[0, 1]`, `"logits": [[[1e999, 1]`)), `logits`},
		{swap(dpo(`, "f_divergence_type": "forward_kl"`, swap(goodInputs, `"ref_logits": [[[0, 0]`, `"ref_logits": [[[-900, 0]`)), `[0, 1], [0, 0]], [`, `[900, 0], [0, 0]], [`), `the result is not finite`},
		{swap(dpo("", swap(goodInputs, `k": [[0, 1]`, `k": [[0, 0]`)), `"sigmoid"`, `"sft"`), `the result is not finite`},
		{kto(`"kto"`, ktoInputs), `0 log-probs and 0 of the reference for the KL baseline`},
		{kto(`"kto", "beta": -1`, ktoInputs+`, "KL_logps": [0], "ref_KL_logps": [0]`), `beta is -1`},
		{kto(`"bco"`, ktoInputs), `loss_type bco is not one`},
		{kto(`"apo"`, ktoInputs), `unpaired preference loss "apo"`},
		{kto(`"apo_zero_unpaired"`, goodInputs), `field "label" is missing`},
		{kto(`"apo_zero_unpaired"`, swap(ktoInputs, `[true, false]`, `[true]`)), `1 labels for 2 rows`},
	} {
		if r := replyTo(t, strings.ReplaceAll(strings.ReplaceAll(c.line, "\n", ""), "\t", ""), "loss"); r["error"] == nil || !strings.Contains(get[string](t, r, "error"), c.want) {
			t.Errorf("%s: got %s, want an error with %q", c.line, show(r), c.want)
		}
	}
	if r := replyTo(t, `{"source": "orpo", "config": {}, "inputs": {}}`, "loss"); get[string](t, r, "unsupported") != "orpo" {
		t.Errorf("an unknown source: %s", show(r))
	}
	for _, line := range []string{dpo(`, "ld_alpha": null`, goodInputs), kto(`"apo_zero_unpaired"`, ktoInputs), kto(`"kto"`, ktoInputs+`, "KL_logps": [-1], "ref_KL_logps": [-2]`)} {
		if r := replyTo(t, strings.ReplaceAll(line, "\n", ""), "loss"); r["loss"] == nil {
			t.Errorf("%s: got %s", line, show(r))
		}
	}
}

// TestLossHasNoFormula: the verb's files parse and call; they neither import math nor calculate with anything but whole numbers and texts.
func TestLossHasNoFormula(t *testing.T) {
	fset := token.NewFileSet()
	paths, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, p := range paths {
		if strings.HasSuffix(p, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, p, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	if got := formulas(t, fset, files, "tool_loss"); len(got) > 0 {
		t.Errorf("move what calculates below cmd, to the objectives: %v", got)
	}
	bad := `package main
import "math"
type reply struct{ loss float64 }
func f(r reply, xs []float64, n int) (float64, int) { s := 0.0; for _, x := range xs { s += x }; return math.Exp(r.loss) / 2 - s, n + 1 }`
	f, err := parser.ParseFile(fset, "tool_loss_bad.go", bad, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := formulas(t, fset, []*ast.File{f}, "tool_loss"); len(got) != 4 { // the import, +=, / and -
		t.Errorf("of a file with a formula only these were seen: %v", got)
	}
}

// formulas lists the places in files with the prefix that calculate. What other packages give has no type here and counts as a number.
func formulas(t *testing.T, fset *token.FileSet, files []*ast.File, prefix string) (found []string) {
	t.Helper()
	info := types.Info{Types: map[ast.Expr]types.TypeAndValue{}}
	conf := types.Config{Error: func(error) {}, Importer: nil}
	_, _ = conf.Check("main", fset, files, &info) // imports stay unresolved
	is := func(x ast.Expr, want types.BasicInfo) bool {
		b, ok := info.Types[x].Type.(*types.Basic)
		return ok && b.Info()&want != 0
	}
	calculates := func(x, y ast.Expr) bool {
		return !is(x, types.IsString) && !is(y, types.IsString) && !(is(x, types.IsInteger) && is(y, types.IsInteger))
	}
	for _, f := range files {
		if !strings.HasPrefix(filepath.Base(fset.Position(f.Pos()).Filename), prefix) {
			continue
		}
		for _, i := range f.Imports {
			if strings.HasPrefix(i.Path.Value, `"math`) {
				found = append(found, fset.Position(i.Pos()).String())
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.BinaryExpr:
				switch n.Op {
				case token.ADD, token.SUB, token.MUL, token.QUO, token.REM:
					if calculates(n.X, n.Y) {
						found = append(found, fset.Position(n.OpPos).String())
					}
				}
			case *ast.AssignStmt:
				switch n.Tok {
				case token.ADD_ASSIGN, token.SUB_ASSIGN, token.MUL_ASSIGN, token.QUO_ASSIGN:
					if calculates(n.Lhs[0], n.Rhs[0]) {
						found = append(found, fset.Position(n.TokPos).String())
					}
				}
			}
			return true
		})
	}
	return found
}
