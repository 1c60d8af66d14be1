//go:build !amd64 || purego

package kernel

func detect() []*ops { return nil }

func peakLoop() (func(n int), float64) { return nil, 0 }
