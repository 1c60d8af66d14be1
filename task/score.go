package task

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hone-lm/hone/internal/arith"
)

// UnsupportedError is Score's answer for a task whose scoring is not reproduced here.
type UnsupportedError struct{ Task string }

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("reasoning-gym's scoring of %q is not built; there are chain_sum, countdown, knights_knaves, mini_sudoku", e.Task)
}

// Score gives the score of reasoning-gym's score_answer (Apache-2.0, 2026-04-17) for an answer to one of its items: partial credit and
// quirks included, so that numbers compare with its own. It is not what Check says, which is about truth. metadata is the item's, as JSON;
// a nil candidate is no answer.
func Score(task, question, answer string, metadata json.RawMessage, candidate *string) (float64, error) {
	switch task {
	case "chain_sum":
		return scoreDecimal(answer, candidate), nil
	case "countdown":
		return scoreCountdown(metadata, candidate)
	case "knights_knaves":
		return scoreKnights(answer, candidate), nil
	case "mini_sudoku":
		return scoreSudoku(answer, metadata, candidate)
	}
	return 0, &UnsupportedError{task}
}

// scoreDecimal: 1 for the same decimal number, else the reference's share of the answer's length where the answer holds it.
func scoreDecimal(answer string, candidate *string) float64 {
	if candidate == nil || *candidate == "" {
		return 0
	}
	got, want := strings.ReplaceAll(*candidate, ",", ""), strings.ReplaceAll(answer, ",", "")
	if a, ok := readDecimal(got); ok {
		if b, ok := readDecimal(want); ok && a == b {
			return 1
		}
	}
	if strings.Contains(got, want) && got != "" {
		return float64(utf8.RuneCountInString(want)) / float64(utf8.RuneCountInString(got))
	}
	return 0
}

// decimalNumber is a number in lowest terms: digits without zeros at either end, times ten to the power.
type decimalNumber struct {
	negative bool
	digits   string
	power    int64
}

var decimalForm = regexp.MustCompile(`^([+-]?)(\d+(?:\.\d*)?|\.\d+)(?:[eE]([+-]?\d+))?$`)

// readDecimal reads what Python's Decimal does and compares as a number (not its infinities and NaN).
func readDecimal(s string) (decimalNumber, bool) {
	s = strings.ReplaceAll(strings.TrimFunc(asciiDigits(s), pythonSpace), "_", "")
	if strings.EqualFold(s, "inf") || strings.EqualFold(s, "infinity") {
		return decimalNumber{digits: "infinity"}, true
	}
	m := decimalForm.FindStringSubmatch(s)
	if m == nil {
		return decimalNumber{}, false
	}
	var power int64
	if m[3] != "" {
		var err error
		if power, err = strconv.ParseInt(m[3], 10, 62); err != nil {
			return decimalNumber{}, false
		}
	}
	whole, fraction, _ := strings.Cut(m[2], ".")
	digits := strings.TrimLeft(whole+fraction, "0")
	power -= int64(len(fraction))
	trimmed := strings.TrimRight(digits, "0")
	if trimmed == "" {
		return decimalNumber{}, true
	}
	return decimalNumber{m[1] == "-", trimmed, power + int64(len(digits)-len(trimmed))}, true
}

// asciiDigits writes the decimal digits of every script as 0 to 9, as Python's numbers and \d read them: each script has its ten in one run.
func asciiDigits(s string) string {
	return strings.Map(func(r rune) rune {
		if r <= unicode.MaxASCII || !unicode.IsDigit(r) {
			return r
		}
		for _, run := range unicode.Nd.R16 {
			if r >= rune(run.Lo) && r <= rune(run.Hi) {
				return '0' + (r-rune(run.Lo))%10
			}
		}
		for _, run := range unicode.Nd.R32 {
			if r >= rune(run.Lo) && r <= rune(run.Hi) {
				return '0' + (r-rune(run.Lo))%10
			}
		}
		return r
	}, s)
}

// pythonSpace is str.isspace: the four separators of ASCII are white space too.
func pythonSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }

// wholeNumbers finds \b\d+\b: digits with no letter, digit or underscore at either side.
func wholeNumbers(s string) []string {
	var out []string
	for _, word := range strings.FieldsFunc(asciiDigits(s), func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsNumber(r) }) {
		if strings.Trim(word, "0123456789") == "" {
			if word = strings.TrimLeft(word, "0"); word == "" {
				word = "0"
			}
			out = append(out, word)
		}
	}
	return out
}

// scoreCountdown: 1 for an expression over exactly the given numbers that comes close enough to the target; 0.05 for anything that has a
// value; 0.01 for the rest, no answer included.
func scoreCountdown(metadata json.RawMessage, candidate *string) (float64, error) {
	const nothing, parsed = 0.01, 0.05
	var meta struct {
		Numbers []json.Number `json:"numbers"`
		Target  *float64      `json:"target"`
	}
	if err := json.Unmarshal(metadata, &meta); err != nil || len(meta.Numbers) == 0 || meta.Target == nil {
		return 0, fmt.Errorf("countdown: metadata %.60s: want {\"numbers\": [...], \"target\": N}", metadata)
	}
	if candidate == nil || strings.TrimFunc(*candidate, pythonSpace) == "" {
		return nothing, nil
	}
	value, err := arith.Python(*candidate)
	if err != nil {
		return nothing, nil
	}
	var given []string
	for _, n := range meta.Numbers {
		given = append(given, n.String())
	}
	used := wholeNumbers(*candidate)
	slices.Sort(given)
	slices.Sort(used)
	// NumPy's isclose with rtol 1e-5 and the scorer's atol 1e-6.
	if slices.Equal(given, used) && math.Abs(value-*meta.Target) <= 1e-6+1e-5*math.Abs(*meta.Target) {
		return 1, nil
	}
	return parsed, nil
}

var knightRoles = []string{"knight", "knave", "pioneer", "laggard", "saint", "sinner", "hero", "villain", "angel", "devil", "altruist", "egoist", "sage", "fool"}

// knightPairs reads (name, role) pairs: the last word before a role that is no filler is the name.
func knightPairs(answer string) map[[2]string]bool {
	text := strings.NewReplacer(".", " ", ",", " ", ")", " ", "(", " ").Replace(strings.TrimFunc(strings.ToLower(answer), pythonSpace))
	pairs := map[[2]string]bool{}
	name := ""
	for _, word := range strings.FieldsFunc(strings.ReplaceAll(text, " and ", " "), pythonSpace) {
		switch {
		case word == "is" || word == "a" || word == "an":
		case !slices.Contains(knightRoles, word):
			name = word
		case name != "":
			pairs[[2]string{name, word}] = true
			name = ""
		}
	}
	return pairs
}

// scoreKnights: 1 for the same pairs, 0.3 + 0.7 times the share of right ones where as many pairs are given.
func scoreKnights(answer string, candidate *string) float64 {
	if candidate == nil || *candidate == "" {
		return 0
	}
	want, got := knightPairs(answer), knightPairs(*candidate)
	if len(want) != len(got) {
		return 0
	}
	matching := 0
	for pair := range want {
		if got[pair] {
			matching++
		}
	}
	switch {
	case matching == len(want):
		return 1
	case matching > 0:
		return 0.3 + 0.7*float64(matching)/float64(len(want))
	}
	return 0
}

// scoreSudoku: 1 for the same text but for spaces at line ends, else 0.9 times the share of right cells in lines that hold four digits; longer
// answers than the reference lose in proportion.
func scoreSudoku(answer string, metadata json.RawMessage, candidate *string) (float64, error) {
	var meta struct{ Solution [][]int }
	if err := json.Unmarshal(metadata, &meta); err != nil || len(meta.Solution) == 0 || len(meta.Solution[0]) == 0 {
		return 0, fmt.Errorf("mini_sudoku: metadata %.60s: want {\"solution\": [[...], ...]}", metadata)
	}
	if candidate == nil || *candidate == "" {
		return 0, nil
	}
	score := 1.0
	if stripLines(*candidate) != stripLines(answer) {
		score = 0.9 * sudokuShare(meta.Solution, *candidate)
	}
	if got, want := utf8.RuneCountInString(*candidate), utf8.RuneCountInString(answer); got > want {
		score *= float64(want) / float64(got)
	}
	return score, nil
}

func stripLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRightFunc(l, pythonSpace)
	}
	return strings.Join(lines, "\n")
}

func sudokuShare(solution [][]int, text string) float64 {
	size, row, matching := len(solution[0]), 0, 0
	for line := range strings.SplitSeq(text, "\n") {
		if row >= len(solution) {
			break
		}
		var digits []int
		for _, c := range []byte(line) {
			if c >= '1' && c <= '9' {
				digits = append(digits, int(c-'0'))
			}
		}
		if len(digits) != size {
			continue
		}
		for i, want := range solution[row][:min(size, len(solution[row]))] {
			if digits[i] == want {
				matching++
			}
		}
		row++
	}
	return float64(matching) / float64(size*size)
}
