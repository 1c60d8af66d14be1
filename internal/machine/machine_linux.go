package machine

import (
	"bufio"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// CPU returns the processor's name, "" where /proc does not tell it.
func CPU() string {
	return field("/proc/cpuinfo", ":", "model name")
}

// ReadMemory returns the machine's memory, or what the control groups of this process leave of it.
func ReadMemory() Memory {
	m := Memory{kibibytes("MemTotal"), kibibytes("MemAvailable"), kibibytes("SwapFree")}
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err == nil {
		m.limit("/sys/fs/cgroup", string(groups))
	}
	return m
}

func kibibytes(name string) int64 {
	n, err := strconv.ParseInt(strings.TrimSuffix(field("/proc/meminfo", ":", name), " kB"), 10, 64)
	if err != nil {
		return 0
	}
	return n << 10
}

// limit lowers m to the limits of the control groups that the lines of /proc/self/cgroup name, and of the groups around them. Files in the
// page cache that nobody used lately count as free. root is where the groups are mounted: version 2, or version 1 with a folder memory.
func (m *Memory) limit(root, groups string) {
	for line := range strings.Lines(groups) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(part) < 3 {
			continue
		}
		mount, most, used, cache := root, "memory.max", "memory.current", "inactive_file"
		switch {
		case part[1] == "memory":
			mount, most, used, cache = path.Join(root, "memory"), "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
		case part[0] != "0":
			continue
		}
		for dir := path.Clean("/" + part[2]); ; dir = path.Dir(dir) {
			at := path.Join(mount, dir)
			if limit, ok := number(path.Join(at, most)); ok && (m.Total == 0 || limit < m.Total) {
				m.Total, m.Swap = limit, 0
				used, _ := number(path.Join(at, used))
				idle, _ := strconv.ParseInt(field(path.Join(at, "memory.stat"), " ", cache), 10, 64)
				free := max(1, limit-used+idle) // 0 would say unknown
				if m.Free == 0 || free < m.Free {
					m.Free = free
				}
			}
			if dir == "/" {
				break
			}
		}
	}
}

func number(file string) (int64, bool) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64) // "max" is no limit
	return n, err == nil
}

// field returns the value of the first line "name : value" of a file; separator parts the two.
func field(file, separator, name string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if k, v, ok := strings.Cut(lines.Text(), separator); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// PeakRSS returns the largest resident memory of this process so far, in bytes; 0 = unknown.
func PeakRSS() int64 {
	n, err := strconv.ParseInt(strings.TrimSuffix(field("/proc/self/status", ":", "VmHWM"), " kB"), 10, 64)
	if err != nil {
		return 0
	}
	return n << 10
}

// CPUTime returns the processor time that this process has used on all its threads; 0 = unknown.
func CPUTime() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
