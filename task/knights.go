package task

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/hone-lm/hone/internal/rng"
)

// Knights is a puzzle of knights, who always tell the truth, and knaves, who always lie. Person i makes statement i.
type Knights struct {
	Names      []string    `json:"names"` // in the natural wording; the compact one calls people A, B, C ...
	Statements []Statement `json:"statements"`
	Solution   []bool      `json:"solution"` // true for a knight
}

// Statement is a claim about who is what. Its JSON is reasoning-gym's: ["lying", 1], ["and", S, S], ["->", S, S] ...
type Statement struct {
	Op     string // "telling-truth" and "lying" (Person is a knight, a knave); "not", "and", "or", "->", "<=>" over Args
	Person int
	Args   []Statement
}

// MarshalJSON writes the list form.
func (s Statement) MarshalJSON() ([]byte, error) {
	list := []any{s.Op}
	if s.leaf() {
		list = append(list, s.Person)
	}
	for _, a := range s.Args {
		list = append(list, a)
	}
	return json.Marshal(list)
}

// UnmarshalJSON reads the list form.
func (s *Statement) UnmarshalJSON(b []byte) error {
	var list []json.RawMessage
	if err := json.Unmarshal(b, &list); err != nil {
		return err
	}
	*s = Statement{}
	if len(list) < 2 {
		return fmt.Errorf("statement %s: want an operator and its arguments", b)
	}
	if err := json.Unmarshal(list[0], &s.Op); err != nil {
		return err
	}
	if s.leaf() {
		return json.Unmarshal(list[1], &s.Person)
	}
	for _, raw := range list[1:] {
		var a Statement
		if err := json.Unmarshal(raw, &a); err != nil {
			return err
		}
		s.Args = append(s.Args, a)
	}
	return nil
}

func (s *Statement) leaf() bool { return s.Op == "telling-truth" || s.Op == "lying" }

// check refuses unknown operators, wrong numbers of arguments and people who are not there.
func (s *Statement) check(people, depth int) error {
	if s.leaf() {
		if s.Person < 0 || s.Person >= people {
			return fmt.Errorf("statement about person %d of %d", s.Person, people)
		}
		return nil
	}
	want := map[string][2]int{"not": {1, 1}, "and": {1, 8}, "or": {1, 8}, "->": {2, 2}, "<=>": {2, 2}}[s.Op]
	if want[1] == 0 || len(s.Args) < want[0] || len(s.Args) > want[1] || depth > 6 {
		return fmt.Errorf("statement %q with %d arguments at depth %d", s.Op, len(s.Args), depth)
	}
	for i := range s.Args {
		if err := s.Args[i].check(people, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// role is what is known about a person.
type role int8

const (
	open role = iota
	knight
	knave
)

func roleOf(isKnight bool) role {
	if isKnight {
		return knight
	}
	return knave
}

// eval is the truth of the statement under partial knowledge: knight for true, knave for false, open where it cannot be told (Kleene).
func (s *Statement) eval(known []role) role {
	switch s.Op {
	case "telling-truth":
		return known[s.Person]
	case "lying":
		return flip(known[s.Person])
	case "not":
		return flip(s.Args[0].eval(known))
	case "->":
		return either(flip(s.Args[0].eval(known)), s.Args[1].eval(known))
	case "<=>":
		a, b := s.Args[0].eval(known), s.Args[1].eval(known)
		if a == open || b == open {
			return open
		}
		return roleOf(a == b)
	case "or":
		out := knave
		for i := range s.Args {
			out = either(out, s.Args[i].eval(known))
		}
		return out
	}
	out := knave // and: not any of them false
	for i := range s.Args {
		out = either(out, flip(s.Args[i].eval(known)))
	}
	return flip(out)
}

func flip(r role) role { return [...]role{open, knave, knight}[r] }

// either is Kleene's or.
func either(a, b role) role {
	switch {
	case a == knight || b == knight:
		return knight
	case a == open || b == open:
		return open
	}
	return knave
}

// SolveKnights returns every assignment (true = knight) under which each knight's statement is true and each knave's is false.
func SolveKnights(statements []Statement) [][]bool {
	n := len(statements)
	var out [][]bool
	known := make([]role, n)
	for bits := range 1 << n {
		fits := true
		for i := range known {
			known[i] = roleOf(bits>>(n-1-i)&1 == 0)
		}
		for i := range statements {
			fits = fits && statements[i].eval(known) == known[i]
		}
		if fits {
			who := make([]bool, n)
			for i, r := range known {
				who[i] = r == knight
			}
			out = append(out, who)
		}
	}
	return out
}

func (k *Knights) canonical() (all, group string) {
	b, _ := json.Marshal(k.Statements) // names are wording
	return string(b), ""
}

func (k *Knights) valid() error {
	n := len(k.Statements)
	if n < 1 || n > 8 || len(k.Names) != n {
		return fmt.Errorf("knights_knaves with %d statements and %d names; want 1 to 8 of each", n, len(k.Names))
	}
	for i := range k.Statements {
		if err := k.Statements[i].check(n, 1); err != nil {
			return err
		}
		if k.Names[i] == "" || strings.ContainsAny(k.Names[i], " ,.|") || slices.Contains(k.Names[:i], k.Names[i]) {
			return fmt.Errorf("knights_knaves: name %q: want different single words", k.Names[i])
		}
	}
	if found := SolveKnights(k.Statements); len(found) != 1 || !slices.Equal(found[0], k.Solution) {
		return fmt.Errorf("knights_knaves: %d solutions; want exactly the one that is given", len(found))
	}
	return nil
}

var people = []string{"Ada", "Ben", "Cora", "Dan", "Eva", "Finn", "Gina", "Hugo", "Iris", "Jack", "Kate", "Leo", "Mia", "Noah", "Olga", "Paul", "Rosa", "Sam", "Tess", "Vera"}

type knights struct {
	common
	depth int
}

func init() {
	register("knights_knaves", entry{
		about: "who tells the truth and who lies, 2 to 8 people (level = how many)",
		open: func(o *options) Task {
			k := &knights{common: o.common(2, 8, 2, 3)}
			k.depth = o.int("depth", 2, 1, 3)
			return k
		},
		data: func() content { return &Knights{} },
	})
}

// Generate implements Generator: random statements (reasoning-gym's mixture) until they have exactly one solution.
func (k *knights) Generate(key rng.Key, level int) (*Problem, error) {
	d := &draw{key: key}
	n, err := k.level(d, level)
	if err != nil {
		return nil, err
	}
	statements := make([]Statement, n)
	for range 20000 {
		for i := range statements {
			statements[i] = drawStatement(d, i, n, k.depth)
		}
		found := SolveKnights(statements)
		if len(found) != 1 {
			continue
		}
		data := &Knights{Statements: statements, Solution: found[0]}
		for _, i := range d.perm(len(people))[:n] {
			data.Names = append(data.Names, people[i])
		}
		return newProblem(k, n, data, k.wording, data.answer(k.wording)), nil
	}
	return nil, fmt.Errorf("task knights_knaves: no puzzle of %d people with one solution in 20000 draws", n)
}

// drawStatement: a plain claim with one sixth, else not, and, or, ->, <=> over claims of less depth, one sixth each. Nobody says outright that
// they are a knave: nobody can.
func drawStatement(d *draw, speaker, n, depth int) Statement {
	kind := d.intn(6)
	if depth == 1 || kind == 0 {
		for {
			s := Statement{Op: []string{"telling-truth", "lying"}[d.intn(2)], Person: d.intn(n)}
			if s.Op != "lying" || s.Person != speaker {
				return s
			}
		}
	}
	s := Statement{Op: []string{"not", "and", "or", "->", "<=>"}[kind-1]}
	args := 2
	if s.Op == "not" {
		args = 1
	}
	for len(s.Args) < args {
		a := drawStatement(d, speaker, n, depth-1)
		if len(s.Args) == 1 && a.in(nil, speaker) == s.Args[0].in(nil, speaker) {
			continue // the same claim twice
		}
		s.Args = append(s.Args, a)
	}
	return s
}

// Check implements Task: every person needs exactly one role. Terms: people, the share of people whose role is right.
func (k *knights) Check(p *Problem, answer string) Result {
	data, err := dataOf[Knights](k, p)
	if err != nil {
		return failed(err)
	}
	text, _ := Final(answer)
	roles, found, err := data.read(text)
	if err != nil {
		return unparsed(text, "%v", err)
	}
	if found == 0 {
		return unparsed(text, "no role of any person")
	}
	right := 0
	for i, r := range roles {
		if r == roleOf(data.Solution[i]) {
			right++
		}
	}
	n := len(roles)
	return judged(right == n, text, fmt.Sprintf("%d of %d roles right", right, n), Term{"people", float64(right) / float64(n)})
}

// read finds "NAME is a knight", "NAME is a knave", "A is a knight" or "Ak", "Bn". The last word on a person counts only if it does not
// contradict an earlier one.
func (k *Knights) read(text string) (roles []role, found int, err error) {
	roles = make([]role, len(k.Names))
	who := -1
	set := func(i int, r role) {
		if roles[i] != open && roles[i] != r {
			err = fmt.Errorf("%s is called both knight and knave", k.Names[i])
		}
		if roles[i] == open {
			found++
		}
		roles[i] = r
	}
	full := strings.Contains(strings.ToLower(text), " kn") // English: "Ak" and "An" are no roles there
	words := strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" \t\r\n.,;:|()*=\"", r) })
	for i, word := range words {
		lower := strings.ToLower(word)
		letter := int(word[0]) - 'A'
		switch {
		case !full && len(word) == 2 && letter >= 0 && letter < len(roles) && (word[1] == 'k' || word[1] == 'n'):
			set(letter, map[byte]role{'k': knight, 'n': knave}[word[1]])
			who = -1
		case lower == "knight" || lower == "knave":
			if slices.ContainsFunc(words[max(0, i-2):i], func(w string) bool { return strings.EqualFold(w, "not") }) {
				return roles, found, fmt.Errorf("a role is denied instead of given")
			}
			if who >= 0 {
				set(who, roleOf(lower == "knight"))
				who = -1
			}
		case len(word) == 1 && letter >= 0 && letter < len(roles) && (i+1 == len(words) || strings.EqualFold(words[i+1], "is")):
			who = letter
		default:
			if at := slices.IndexFunc(k.Names, func(n string) bool { return strings.EqualFold(n, word) }); at >= 0 {
				who = at
			}
		}
	}
	return roles, found, err
}
