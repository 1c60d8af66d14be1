//go:build !linux && !darwin && !windows

package machine

// CPU is not known here.
func CPU() string { return "" }

// Memory is not known here.
func Memory() (total, free int64) { return 0, 0 }

// PeakRSS is not known here.
func PeakRSS() int64 { return 0 }
