package task

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"testing"
)

// Every candidate of the four tasks in reasoning-gym's own items, with its own scores.
func TestScoreItems(t *testing.T) {
	b, err := os.ReadFile(shared(t, "reasoning_gym/items.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(bytes.NewReader(b))
	lines.Buffer(nil, 1<<24)
	checked, unsupported := map[string]int{}, 0
	for lines.Scan() {
		var item struct {
			Task, Question, Answer string
			Metadata               json.RawMessage
			Scores                 []struct {
				Kind   string
				Answer *string
				Score  float64
			}
		}
		if err := json.Unmarshal(lines.Bytes(), &item); err != nil {
			continue // answers that are no text, of tasks that are not built
		}
		for _, s := range item.Scores {
			got, err := Score(item.Task, item.Question, item.Answer, item.Metadata, s.Answer)
			var un *UnsupportedError
			if errors.As(err, &un) {
				unsupported++
				continue
			}
			if err != nil || got != s.Score {
				t.Errorf("%s, %s: got %v (%v), want %v for %v", item.Task, s.Kind, got, err, s.Score, s.Answer)
			}
			checked[item.Task]++
		}
	}
	for _, name := range []string{"chain_sum", "countdown", "knights_knaves", "mini_sudoku"} {
		if checked[name] != 48 {
			t.Errorf("%s: %d candidates, want 48", name, checked[name])
		}
	}
	if unsupported == 0 {
		t.Error("no task was refused")
	}
}

// Candidates of other kinds; the scores are reasoning-gym 0.1.25's (SymPy 1.14, Python 3.11).
var (
	countdownMeta = json.RawMessage(`{"numbers": [3, 7, 12], "target": 48}`)
	sudokuMeta    = json.RawMessage(`{"solution": [[4,2,1,3],[1,3,4,2],[2,1,3,4],[3,4,2,1]]}`)
	half          = 0.5 // not a constant: the sums below must round as the scorer's do
)

const (
	grid = "4 2 1 3\n1 3 4 2\n2 1 3 4\n3 4 2 1"
	two  = "Zoey is a fool, and Riley is a sage."
)

var moreScores = []struct {
	task, answer string
	metadata     json.RawMessage
	candidate    string
	want         float64
}{
	{"countdown", "", countdownMeta, "12*(7-3)", 1},
	{"countdown", "", countdownMeta, " (7 - 3) * 12\n", 1},
	{"countdown", "", countdownMeta, "12*7-12*3", 0.05},
	{"countdown", "", countdownMeta, "12*(7-3)+0", 0.05},
	{"countdown", "", countdownMeta, "48", 0.05},
	{"countdown", "", countdownMeta, "12*(7-3) = 48", 0.01},
	{"countdown", "", countdownMeta, "12*(7-3", 0.01},
	{"countdown", "", countdownMeta, "12×(7-3)", 0.01},
	{"countdown", "", countdownMeta, "12*(7-3) # done", 1},
	{"countdown", "", countdownMeta, "12*(7-3) # ٣", 0.05},
	{"countdown", "", countdownMeta, "12*(7-٣)", 0.01},
	{"countdown", "", countdownMeta, "12(7-3)", 0.01},
	{"countdown", "", countdownMeta, "7/(12-12)", 0.01},
	{"countdown", "", countdownMeta, "x*(7-3)", 0.01},
	{"countdown", "", countdownMeta, "12.0*(7-3)", 0.05},
	{"countdown", "", countdownMeta, "   ", 0.01},
	{"countdown", "", countdownMeta, "12*(7-3) == 48", 0.05},
	{"countdown", "", countdownMeta, "12+7+3", 0.05},
	{"countdown", "", countdownMeta, "no is not yes", 0.05},
	{"countdown", "", countdownMeta, "None", 0.01},
	{"chain_sum", "1692", nil, "1,692", 1},
	{"chain_sum", "1692", nil, "+01692.00", 1},
	{"chain_sum", "1692", nil, "1.692e3", 1},
	{"chain_sum", "1692", nil, "16_92", 1},
	{"chain_sum", "1692", nil, "-1692", 4. / 5},
	{"chain_sum", "1692", nil, "1692 apples", 4. / 11},
	{"chain_sum", "1692", nil, "x = 1,692", 4. / 8},
	{"chain_sum", "1692", nil, "١٦٩٢", 1},
	{"chain_sum", "1692", nil, "１６.９２e２", 1},
	{"chain_sum", "1692", nil, "𝟙692", 1},
	{"chain_sum", "1692", nil, "1692²", 4. / 5},
	{"chain_sum", "1692", nil, "\x1f1692", 1},
	{"chain_sum", "1692", nil, "١٬٦٩٢", 0},
	{"chain_sum", "0", nil, "-0", 1},
	{"chain_sum", "0", nil, "Infinity", 0},
	{"chain_sum", "-18", nil, "18", 0},
	{"chain_sum", "7", nil, "NaN", 0},
	{"chain_sum", "7", nil, ",", 0},
	{"knights_knaves", two, nil, "Riley is a sage. Zoey is a fool.", 1},
	{"knights_knaves", two, nil, "zoey fool riley sage", 1},
	{"knights_knaves", two, nil, "Zoey is a sage, and Riley is a sage.", 0.3 + 0.7*half},
	{"knights_knaves", two, nil, "Zoey is a fool.", 0},
	{"knights_knaves", two, nil, "Zoey is an angel, and Riley is (a sage)", 0.3 + 0.7*half},
	{"knights_knaves", two, nil, "Zoey is a fool, and Riley is a sage, and Zoey is a sage", 0},
	{"knights_knaves", two, nil, "Zoey: fool, Riley: sage", 0},
	{"mini_sudoku", grid, sudokuMeta, "4 2 1 3  \n1 3 4 2\t\n2 1 3 4\n3 4 2 1", 31. / 34},
	{"mini_sudoku", grid, sudokuMeta, "4213\n1342\n2134\n3421", 0.9},
	{"mini_sudoku", grid, sudokuMeta, "4213\n1342\n2134\n3422", 15. / 16 * 0.9},
	{"mini_sudoku", grid, sudokuMeta, "421\n1342\n2134\n3421", 0},
	{"mini_sudoku", grid, sudokuMeta, "4 2 1 3 1 3 4 2", 0},
}

func TestScoreMore(t *testing.T) {
	for _, c := range moreScores {
		got, err := Score(c.task, "", c.answer, c.metadata, &c.candidate)
		if err != nil || got != c.want {
			t.Errorf("%s %q: got %v (%v), want %v", c.task, c.candidate, got, err, c.want)
		}
	}
	if _, err := Score("countdown", "", "", json.RawMessage(`{}`), nil); err == nil {
		t.Error("countdown without numbers was scored")
	}
	if _, err := Score("mini_sudoku", "", "", nil, nil); err == nil {
		t.Error("mini_sudoku without a solution was scored")
	}
}
