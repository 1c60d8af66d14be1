package tensor

import "github.com/hone-lm/hone/tensor/internal/kernel"

// Exp sets dst = exp(x*scale - shift) and returns the row sum, with the arithmetic of the whole engine. dst may be x.
func Exp(dst, x []float32, scale, shift float32) float32 { return kernel.ExpSum(dst, x, scale, shift) }
