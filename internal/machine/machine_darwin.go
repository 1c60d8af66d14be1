package machine

import (
	"time"

	"golang.org/x/sys/unix"
)

// CPU returns the processor's name, "" when the system does not tell.
func CPU() string {
	name, err := unix.Sysctl("machdep.cpu.brand_string")
	if err != nil {
		return ""
	}
	return name
}

// ReadMemory returns the machine's memory; what is free is not told by a plain sysctl.
func ReadMemory() Memory {
	n, err := unix.SysctlUint64("hw.memsize")
	if err != nil {
		return Memory{}
	}
	return Memory{Total: int64(n)}
}

// PeakRSS returns the largest resident memory of this process so far, in bytes; 0 = unknown.
func PeakRSS() int64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return u.Maxrss
}

// CPUTime returns the processor time that this process has used on all its threads; 0 = unknown.
func CPUTime() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
