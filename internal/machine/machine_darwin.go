package machine

import "golang.org/x/sys/unix"

// CPU returns the processor's name, "" where the system does not tell it.
func CPU() string {
	name, err := unix.Sysctl("machdep.cpu.brand_string")
	if err != nil {
		return ""
	}
	return name
}

// Memory returns the machine's memory in bytes; what is free is not told by a plain sysctl.
func Memory() (total, free int64) {
	n, err := unix.SysctlUint64("hw.memsize")
	if err != nil {
		return 0, 0
	}
	return int64(n), 0
}

// PeakRSS returns the largest resident memory of this process so far, in bytes; 0 = unknown.
func PeakRSS() int64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return u.Maxrss
}
