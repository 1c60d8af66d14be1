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
		for i, x := range p.Data {
			if x-x != 0 {
				return fmt.Sprintf("%s[%d] is %g", p.Name, i, x)
			}
		}
	}
	return ""
}
