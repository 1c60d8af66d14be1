//go:build race

package local

// raceDetector is on: sync.Pool, which the kernels take scratch from, then drops items at random, so allocations cannot be counted.
const raceDetector = true
