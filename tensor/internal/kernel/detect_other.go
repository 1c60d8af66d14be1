//go:build !amd64 || purego

package kernel

func detect() []*ops { return nil }
