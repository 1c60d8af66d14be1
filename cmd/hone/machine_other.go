//go:build !linux && !darwin && !windows

package main

func cpuName() string { return "" }

func systemMemory() (total, free int64) { return 0, 0 }
