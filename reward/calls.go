package reward

import (
	"errors"
	"strings"

	"github.com/hone-lm/hone/task"
	"github.com/hone-lm/hone/task/toolcall"
)

// CallScale grades tool calls, and fragments of them, from excellent to poor. A judge that knows probabilities gives
// (P(A) + 0.1 P(B) - P(C) - 2 P(D)) / 4.
var CallScale = Scale{
	{string(toolcall.Excellent), 0.25, true, "excellent: the same functions, parameter names, values and meaning; also a right fragment"},
	{string(toolcall.Acceptable), 0.025, false, "acceptable: the right functions and parameter names, one value is wrong"},
	{string(toolcall.Fair), -0.25, false, "fair: the right functions, wrong parameters or several wrong values"},
	{string(toolcall.Poor), -0.5, false, "poor: other functions, another number of calls, or nothing that can be read"},
}

// CallTruth is the option of CallScale that a program gives: the answer against the problem's reference calls. A fragment may be unfinished; an
// answer that has ended may not.
func CallTruth(c *Case) (int, error) {
	if c.Problem == nil || c.Problem.Answer == "" {
		return 0, errors.New("there is no reference answer to compare the calls with")
	}
	gold := ReferenceCalls(c.Problem)
	rating := toolcall.Rate(gold, c.Answer)
	if !c.Fragment {
		if _, err := toolcall.Parse(c.Answer); err != nil && gold != nil || strings.TrimSpace(c.Answer) == "" {
			rating = toolcall.Poor
		}
	}
	return CallScale.index(string(rating)), nil
}

// ReferenceCalls are the calls of a problem's reference answer, nil where it has none: nothing can, or should, be called.
func ReferenceCalls(p *task.Problem) []toolcall.Call {
	calls, err := toolcall.Parse(p.Answer)
	if err != nil {
		return nil
	}
	return calls
}
