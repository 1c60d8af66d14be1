package local

import (
	"fmt"
	"slices"
)

// NotFinite names the first tensor of the trained model that holds a number which is not finite, with the number's place; "" when there is
// none. Errors say with it where the damage is.
func (e *Engine) NotFinite() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, p := range slices.Concat(e.live.m.Weights(), e.live.m.Params()) {
		found, at := "", 0
		p.Widen(func(part []float32) {
			for i, x := range part {
				if x-x != 0 && found == "" {
					found = fmt.Sprintf("%s[%d] is %g", p.Name, at+i, x)
				}
			}
			at += len(part)
		})
		if found != "" {
			return found
		}
	}
	return ""
}
