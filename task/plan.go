package task

import "strings"

// OperatorMatch counts the steps of a compact plan ("a-b;c*e") and how many of them the execution ("7-3=4;12*4=48") does in their order: a
// step does what the plan says when it has the plan's operator. Values are not looked at, so a plan is followed or not whether or not it helps.
func OperatorMatch(plan, steps string) (matched, planned int) {
	done := strings.Split(steps, ";")
	for i, p := range strings.Split(plan, ";") {
		want := operator(p)
		if want == 0 {
			continue
		}
		planned++
		if i < len(done) && operator(done[i]) == want {
			matched++
		}
	}
	return matched, planned
}

// operator finds the first operator after a step's first character, which may be a sign.
func operator(step string) byte {
	for i := 1; i < len(step); i++ {
		if strings.IndexByte("+-*/", step[i]) >= 0 {
			return step[i]
		}
	}
	return 0
}
