package reward

import (
	"regexp"
	"strings"
)

// numbered finds the title of a numbered line: what follows "1. " up to the line's end.
var numbered = regexp.MustCompile(`(?m)^\s*\d+\.[ \t]*(\S.*?)\s*$`)

// PlanMatch counts the titles of a plan's numbered lines, and how many of them occur among the execution's: as part of one, or with a longest
// common subsequence of words above 0.3 of the shorter title (Explore-Execute Chain, arXiv 2509.23946, as its code does). Case does not count.
func PlanMatch(plan, execution string) (matched, titles int) {
	var done []string
	for _, m := range numbered.FindAllStringSubmatch(execution, -1) {
		done = append(done, strings.ToLower(m[1]))
	}
	for _, m := range numbered.FindAllStringSubmatch(plan, -1) {
		titles++
		title := strings.ToLower(m[1])
		for _, d := range done {
			if strings.Contains(d, title) || WordOverlap(title, d) > 0.3 {
				matched++
				break
			}
		}
	}
	return matched, titles
}

// WordOverlap is the longest common subsequence of two texts' words over the number of words of the shorter; 0 when one has none.
func WordOverlap(a, b string) float64 {
	x, y := strings.Fields(a), strings.Fields(b)
	if len(x) == 0 || len(y) == 0 {
		return 0
	}
	return float64(common(x, y)) / float64(min(len(x), len(y)))
}

// TextOverlap is twice the longest common subsequence of two texts' characters over the characters of both: 1 for equal texts.
func TextOverlap(a, b string) float64 {
	x, y := []rune(a), []rune(b)
	if len(x)+len(y) == 0 {
		return 1
	}
	return 2 * float64(common(x, y)) / float64(len(x)+len(y))
}

// common is the length of the longest common subsequence.
func common[T comparable](x, y []T) int {
	row := make([]int, len(y)+1) // row[j]: of what came of x so far and y[:j]
	for _, w := range x {
		diagonal := 0
		for j, v := range y {
			above := row[j+1]
			if w == v {
				row[j+1] = diagonal + 1
			} else {
				row[j+1] = max(above, row[j])
			}
			diagonal = above
		}
	}
	return row[len(y)]
}
