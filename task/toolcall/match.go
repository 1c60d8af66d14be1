package toolcall

import "math"

// Same compares values as a careful reader would: numbers by value, strings in their Standard form, lists and tuples alike, dictionaries
// by key. Truth values are equal to truth values only.
func Same(a, b Value) bool {
	_, boolA := a.(bool)
	_, boolB := b.(bool)
	if boolA != boolB {
		return false
	}
	switch a := a.(type) {
	case string:
		s, ok := b.(string)
		return ok && Standard(a) == Standard(s)
	case List:
		return sameItems(a, b)
	case Tuple:
		return sameItems(a, b)
	case *Dict:
		d, ok := b.(*Dict)
		if !ok || a.Len() != d.Len() {
			return false
		}
		for hash, i := range a.at {
			if v, ok := d.lookup(hash); !ok || !Same(a.items[i].Value, v) {
				return false
			}
		}
		return true
	}
	return Equal(a, b)
}

func sameItems(a []Value, b Value) bool {
	var other []Value
	switch b := b.(type) {
	case List:
		other = b
	case Tuple:
		other = b
	default:
		return false
	}
	if len(a) != len(other) {
		return false
	}
	for i := range a {
		if !Same(a[i], other[i]) {
			return false
		}
	}
	return true
}

// Score says how well predicted calls match the gold ones, whatever their order.
type Score struct {
	Graded float64 // mean of the pairs' q, see Match; 1 for the same calls
	Strict bool    // the same calls: names, parameters, values
	Values int     // arguments of the gold calls
	Right  int     // of those, given with the right value by the matched call
	Pairs  []Pair  // matched calls of one name, in the gold calls' order
}

// Pair is a gold call and the predicted call that it is matched with, by index.
type Pair struct {
	Gold, Pred int
	Q          float64
}

// Match pairs gold and predicted calls one to one so that the sum of q is the largest, and returns Graded = sum / max(#pred, #gold), 1 where
// both are empty. For two calls of one name with parameter names K* and K
//
//	q = 1/3 + 1/3 |K and K*| / |K or K*| + 1/3 (gold arguments with the same value) / |K*|     (0/0 = 1)
//
// and q = 0 when the names differ. An argument without a name counts as a parameter that gold does not have.
func Match(gold, pred []Call) Score {
	s := Score{Strict: len(gold) == len(pred)}
	n := max(len(gold), len(pred))
	if n == 0 {
		s.Graded = 1
		return s
	}
	q := make([]float64, len(gold)*len(pred)) // [gold][pred]
	for i, g := range gold {
		s.Values += g.Args.Len()
		for k, p := range pred {
			q[i*len(pred)+k], _ = pairScore(g, p)
		}
	}
	sum := 0.0
	for i, k := range assign(q, len(gold), len(pred)) {
		if k < 0 || q[i*len(pred)+k] == 0 {
			s.Strict = false
			continue
		}
		v, right := pairScore(gold[i], pred[k])
		sum += v
		s.Right += right
		s.Pairs = append(s.Pairs, Pair{i, k, v})
		same := gold[i].Args.Len()
		if right != same || pred[k].Args.Len() != same || len(pred[k].Positional) > 0 {
			s.Strict = false
		}
	}
	s.Graded = sum / float64(n)
	if s.Strict {
		s.Graded = 1 // thirds do not add up to 1 exactly
	}
	return s
}

// pairScore is q and the number of gold arguments with the right value.
func pairScore(gold, pred Call) (q float64, right int) {
	if gold.Name != pred.Name {
		return 0, 0
	}
	both := 0
	for _, it := range gold.Args.Items() {
		v, ok := pred.Args.Get(it.Key.(string))
		if ok {
			both++
			if Same(it.Value, v) {
				right++
			}
		}
	}
	either := gold.Args.Len() + pred.Args.Len() + len(pred.Positional) - both
	share := func(a, b int) float64 {
		if b == 0 {
			return 1
		}
		return float64(a) / float64(b)
	}
	return (1 + share(both, either) + share(right, gold.Args.Len())) / 3, right
}

// assign returns for each row the column it is given, or -1, so that the sum of gain[row*cols+col] is the largest (Hungarian algorithm with
// potentials, Kuhn 1955, O(n^3)). Rows without a column have met more rows than columns.
func assign(gain []float64, rows, cols int) []int {
	n := max(rows, cols)
	cost := func(r, c int) float64 { // of the square problem, rows and columns from 1
		if r > rows || c > cols {
			return 0
		}
		return -gain[(r-1)*cols+c-1]
	}
	u, v := make([]float64, n+1), make([]float64, n+1)
	rowOf, way := make([]int, n+1), make([]int, n+1) // by column
	for r := 1; r <= n; r++ {
		rowOf[0] = r
		c0 := 0
		least, used := make([]float64, n+1), make([]bool, n+1)
		for c := range least {
			least[c] = math.Inf(1)
		}
		for rowOf[c0] != 0 {
			used[c0] = true
			r0, next, delta := rowOf[c0], 0, math.Inf(1)
			for c := 1; c <= n; c++ {
				if used[c] {
					continue
				}
				if d := cost(r0, c) - u[r0] - v[c]; d < least[c] {
					least[c], way[c] = d, c0
				}
				if least[c] < delta {
					next, delta = c, least[c]
				}
			}
			for c := range used {
				if used[c] {
					u[rowOf[c]] += delta
					v[c] -= delta
				} else {
					least[c] -= delta
				}
			}
			c0 = next
		}
		for c0 != 0 {
			rowOf[c0] = rowOf[way[c0]]
			c0 = way[c0]
		}
	}
	out := make([]int, rows)
	for c := 1; c <= n; c++ {
		if r := rowOf[c]; r <= rows {
			out[r-1] = c - 1
			if c > cols {
				out[r-1] = -1
			}
		}
	}
	return out
}
