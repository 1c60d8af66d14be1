package machine

import (
	"bufio"
	"os"
	"strconv"
	"strings"
)

// CPU returns the processor's name, "" where /proc does not tell it.
func CPU() string {
	return field("/proc/cpuinfo", "model name")
}

// Memory returns the machine's memory and what is free for programs, in bytes; 0 = unknown.
func Memory() (total, free int64) {
	return kibibytes("MemTotal"), kibibytes("MemAvailable")
}

func kibibytes(name string) int64 {
	n, err := strconv.ParseInt(strings.TrimSuffix(field("/proc/meminfo", name), " kB"), 10, 64)
	if err != nil {
		return 0
	}
	return n << 10
}

// field returns the value of the first line "name : value" in a file of /proc.
func field(path, name string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if k, v, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// PeakRSS returns the largest resident memory of this process so far, in bytes; 0 = unknown.
func PeakRSS() int64 {
	n, err := strconv.ParseInt(strings.TrimSuffix(field("/proc/self/status", "VmHWM"), " kB"), 10, 64)
	if err != nil {
		return 0
	}
	return n << 10
}
