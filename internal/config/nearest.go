package config

// Nearest returns the name that word was probably meant to be, or "" when none is near. Of equally near names the first wins.
func Nearest(word string, names []string) string {
	best, bestDist := "", len(word)/3+1
	for _, n := range names {
		limit := max(len(word), len(n))/3 + 1
		if d := distance(word, n); d <= min(limit, bestDist) && (best == "" || d < bestDist) && d < max(len(word), len(n)) {
			best, bestDist = n, d
		}
	}
	return best
}

// distance is the number of insertions, deletions, replacements and swaps of neighbours (optimal string alignment) between two names.
func distance(a, b string) int {
	const longest = 100 // of a name worth a suggestion; keeps the table small whatever the input
	if len(a) > longest || len(b) > longest {
		return longest
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
