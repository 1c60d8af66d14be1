//go:build !linux && !darwin && !windows

package machine

import "time"

// CPU returns the processor's name, which is unknown here.
func CPU() string { return "" }

// ReadMemory returns the machine's memory, which is unknown here.
func ReadMemory() Memory { return Memory{} }

// PeakRSS is not known here.
func PeakRSS() int64 { return 0 }

// CPUTime is not known here.
func CPUTime() time.Duration { return 0 }
