package tensor

import "fmt"

// checkIndex panics when an index lies outside [0, n): in the calling goroutine, where it can be recovered, not in a worker.
func checkIndex(op, what string, ids []int32, n int) {
	for i, id := range ids {
		if id < 0 || int(id) >= n {
			panic(fmt.Sprintf("tensor: %s: %s %d at place %d, of %d", op, what, id, i, n))
		}
	}
}
