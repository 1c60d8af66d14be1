package task

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/hone-lm/hone/internal/rng"
)

// letter is a person's name in the compact wording.
func letter(i int) string { return string(rune('A' + i)) }

// in writes a statement; names nil means compact: Ak (A is a knight), An, !S, (S&S), (S/S) for or, (S>S), (S=S).
func (s *Statement) in(names []string, speaker int) string {
	if names != nil {
		return s.english(names, speaker)
	}
	switch s.Op {
	case "telling-truth":
		return letter(s.Person) + "k"
	case "lying":
		return letter(s.Person) + "n"
	case "not":
		return "!" + s.Args[0].in(nil, speaker)
	}
	sign := map[string]string{"and": "&", "or": "/", "->": ">", "<=>": "="}[s.Op]
	parts := make([]string, len(s.Args))
	for i := range s.Args {
		parts[i] = s.Args[i].in(nil, speaker)
	}
	return "(" + strings.Join(parts, sign) + ")"
}

func (s *Statement) english(names []string, speaker int) string {
	parts := make([]string, len(s.Args))
	for i := range s.Args {
		parts[i] = s.Args[i].english(names, speaker)
	}
	switch s.Op {
	case "telling-truth", "lying":
		who := names[s.Person] + " is"
		if s.Person == speaker {
			who = "I am"
		}
		return who + map[string]string{"telling-truth": " a knight", "lying": " a knave"}[s.Op]
	case "not":
		return "it is not true that " + parts[0]
	case "->":
		return "if " + parts[0] + " then " + parts[1]
	case "<=>":
		return parts[0] + " if and only if " + parts[1]
	}
	return strings.Join(parts, " "+s.Op+" ")
}

// Question implements Task. The compact form is "A:Bn B:(Ak&Bk)".
func (k *knights) Question(p *Problem, w Wording) string {
	data, err := dataOf[Knights](k, p)
	if err != nil {
		return p.Question
	}
	parts := make([]string, len(data.Statements))
	for i := range data.Statements {
		if w == Natural {
			parts[i] = fmt.Sprintf("%s says: %q.", data.Names[i], data.Statements[i].in(data.Names, i))
		} else {
			parts[i] = letter(i) + ":" + data.Statements[i].in(nil, i)
		}
	}
	if w != Natural {
		return strings.Join(parts, " ")
	}
	return fmt.Sprintf("On an island live knights, who always tell the truth, and knaves, who always lie. You meet %s. %s Who is a knight and who is a knave? Answer for each person, like %q.",
		strings.Join(data.Names, ", "), strings.Join(parts, " "), data.Names[0]+" is a knight/knave, and "+data.Names[len(data.Names)-1]+" is a knight/knave.")
}

// answer writes the solution.
func (k *Knights) answer(w Wording) string {
	return k.assignment(k.Solution).In(w)
}

func (k *Knights) assignment(who []bool) Words {
	var short, long []string
	for i, isKnight := range who {
		short = append(short, letter(i)+map[bool]string{true: "k", false: "n"}[isKnight])
		long = append(long, k.Names[i]+" is a "+roleName(isKnight))
	}
	n := len(long) - 1
	text := long[n] + "."
	if n > 0 {
		text = strings.Join(long[:n], ", ") + ", and " + text
	}
	return Words{strings.Join(short, " "), text}
}

func roleName(isKnight bool) string {
	if isKnight {
		return "knight"
	}
	return "knave"
}

// KnightsStep says of which person a step speaks: the one assumed to be a knight or knave, or the one whose statement is tested.
type KnightsStep struct {
	Person int
	Knight bool
}

func (k *Knights) assume(kind StepKind, i int, isKnight bool) Step {
	text := Words{k.short(i, isKnight) + "?", fmt.Sprintf("Assume %s is a %s.", k.Names[i], roleName(isKnight))}
	if kind == Derive {
		text = Words{k.short(i, isKnight), fmt.Sprintf("So %s is a %s.", k.Names[i], roleName(isKnight))}
	}
	return Step{Kind: kind, Text: text, Data: &KnightsStep{i, isKnight}}
}

func (k *Knights) short(i int, isKnight bool) string {
	return letter(i) + map[bool]string{true: "k", false: "n"}[isKnight]
}

// test says whether what person j claims fits their role.
func (k *Knights) test(j int, isKnight, fits bool) Step {
	claim := fmt.Sprintf("Check: %s says %q.", k.Names[j], k.Statements[j].in(k.Names, j))
	says := isKnight == fits // the truth of the claim
	d := &KnightsStep{j, isKnight}
	if fits {
		return Step{Kind: Verify, Text: Words{letter(j) + "+", fmt.Sprintf("%s That is %v, as it must be.", claim, says)}, Data: d}
	}
	return Step{Kind: Contradiction, Text: Words{letter(j) + "!", fmt.Sprintf("%s That is %v, but %s is a %s: contradiction.", claim, says, k.Names[j], roleName(isKnight))}, Data: d}
}

func (k *Knights) back(i int) Step {
	return Step{Kind: Back, Text: Words{"^" + strconv.Itoa(i), "Back to " + k.Names[i] + "."}, Data: &KnightsStep{Person: i}}
}

// settled tests the statements whose truth is told for the first time once person i has a role, and stops at the first contradiction.
func (k *Knights) settled(known []role, i int) (steps []Step, fits bool) {
	before := slices.Clone(known)
	before[i] = open
	for j := range k.Statements {
		value := k.Statements[j].eval(known)
		if known[j] == open || value == open || before[j] != open && k.Statements[j].eval(before) != open {
			continue
		}
		fits := value == known[j]
		steps = append(steps, k.test(j, known[j] == knight, fits))
		if !fits {
			return steps, false
		}
	}
	return steps, true
}

// Expert implements Task: assumes the right role of each person in turn and checks what can be checked. A wrong turn assumes the wrong role
// and goes on until a statement contradicts. Search tries knight first for each person.
func (k *knights) Expert(p *Problem) (*Trace, error) {
	data, err := dataOf[Knights](k, p)
	if err != nil {
		return nil, err
	}
	if err := data.valid(); err != nil {
		return nil, err
	}
	t := &Trace{Problem: p, Answer: data.assignment(data.Solution)}
	var person []int // of each step that assumes, else -1
	known := make([]role, len(data.Names))
	for i, isKnight := range data.Solution {
		known[i] = roleOf(isKnight)
		tests, _ := data.settled(known, i)
		t.Steps = append(append(t.Steps, data.assume(Assume, i, isKnight)), tests...)
		person = append(person, i)
		for range tests {
			person = append(person, -1)
		}
	}
	t.turns = func(at, limit int, key rng.Key) [][]Step {
		if person[at] < 0 {
			return nil
		}
		return data.wrongRoles(person[at], limit, key)
	}
	t.search = func() ([]Step, error) {
		var steps []Step
		data.descend(make([]role, len(data.Names)), 0, &steps)
		return steps, nil
	}
	t.corrupt = func(key rng.Key) ([]Step, Words, error) {
		steps, who := data.corrupt(key.Intn(0, len(data.Names)))
		return steps, data.assignment(who), nil
	}
	return t, nil
}

// wrongRoles lists ways to go on after taking person i for the wrong thing, the people before being right.
func (k *Knights) wrongRoles(i, limit int, key rng.Key) [][]Step {
	const enough = 64
	known := make([]role, len(k.Names))
	for j := range i {
		known[j] = roleOf(k.Solution[j])
	}
	var out [][]Step
	var extend func(at int, isKnight bool, path []Step)
	extend = func(at int, isKnight bool, path []Step) {
		if len(out) >= enough {
			return
		}
		known[at] = roleOf(isKnight)
		tests, fits := k.settled(known, at)
		path = slices.Concat(path, []Step{k.assume(Assume, at, isKnight)}, tests)
		if !fits {
			out = append(out, append(path, k.back(i)))
		} else if at+1 < len(known) {
			extend(at+1, true, path)
			extend(at+1, false, path)
		}
		known[at] = open
	}
	extend(i, !k.Solution[i], nil)
	var chosen [][]Step
	for _, j := range key.Perm(len(out))[:min(limit, len(out))] {
		chosen = append(chosen, out[j])
	}
	return chosen
}

// descend searches in the order of people, knight before knave.
func (k *Knights) descend(known []role, i int, steps *[]Step) bool {
	if i == len(known) {
		return true
	}
	for _, isKnight := range []bool{true, false} {
		kind := Assume
		if !isKnight {
			kind = Derive
		}
		known[i] = roleOf(isKnight)
		tests, fits := k.settled(known, i)
		*steps = append(append(*steps, k.assume(kind, i, isKnight)), tests...)
		if fits && k.descend(known, i+1, steps) {
			return true
		}
		if isKnight {
			*steps = append(*steps, k.back(i))
		}
	}
	known[i] = open
	return false
}

// corrupt flips one person's role and claims that all statements fit.
func (k *Knights) corrupt(flipped int) ([]Step, []bool) {
	who := slices.Clone(k.Solution)
	who[flipped] = !who[flipped]
	known := make([]role, len(who))
	var steps []Step
	tested := make([]bool, len(who))
	for i, isKnight := range who {
		known[i] = roleOf(isKnight)
		s := k.assume(Assume, i, isKnight)
		s.Wrong = i == flipped
		steps = append(steps, s)
		for j := range k.Statements {
			value := k.Statements[j].eval(known)
			if tested[j] || known[j] == open || value == open {
				continue
			}
			tested[j] = true
			s := k.test(j, who[j], true)
			s.Wrong = value != known[j]
			steps = append(steps, s)
		}
	}
	return steps, who
}
