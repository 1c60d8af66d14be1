package machine

import (
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// CPU returns the processor's name.
func CPU() string { return os.Getenv("PROCESSOR_IDENTIFIER") }

// memoryStatusEx is MEMORYSTATUSEX of sysinfoapi.h.
type memoryStatusEx struct {
	Length, Load                                                                       uint32
	TotalPhys, AvailPhys, TotalPage, AvailPage, TotalVirtual, AvailVirtual, AvailExtra uint64
}

// ReadMemory returns the machine's memory.
func ReadMemory() Memory {
	var s memoryStatusEx
	s.Length = uint32(unsafe.Sizeof(s))
	ok, _, _ := windows.NewLazySystemDLL("kernel32.dll").NewProc("GlobalMemoryStatusEx").Call(uintptr(unsafe.Pointer(&s)))
	if ok == 0 {
		return Memory{}
	}
	return Memory{Total: int64(s.TotalPhys), Free: int64(s.AvailPhys), Swap: int64(s.AvailPage - min(s.AvailPage, s.AvailPhys))}
}

// processMemoryCounters is PROCESS_MEMORY_COUNTERS of psapi.h.
type processMemoryCounters struct {
	Size, PageFaults                                                                           uint32
	PeakWorkingSet, WorkingSet                                                                 uintptr
	PeakPagedPool, PagedPool, PeakNonPagedPool, NonPagedPool, PagefileUsage, PeakPagefileUsage uintptr
}

// PeakRSS returns the largest resident memory of this process so far, in bytes; 0 = unknown.
func PeakRSS() int64 {
	var c processMemoryCounters
	c.Size = uint32(unsafe.Sizeof(c))
	ok, _, _ := windows.NewLazySystemDLL("kernel32.dll").NewProc("K32GetProcessMemoryInfo").Call(uintptr(windows.CurrentProcess()), uintptr(unsafe.Pointer(&c)), uintptr(c.Size))
	if ok == 0 {
		return 0
	}
	return int64(c.PeakWorkingSet)
}

// CPUTime returns the processor time that this process has used on all its threads; 0 = unknown.
func CPUTime() time.Duration {
	var created, ended, kernel, user windows.Filetime
	if windows.GetProcessTimes(windows.CurrentProcess(), &created, &ended, &kernel, &user) != nil {
		return 0
	}
	ticks := func(f windows.Filetime) int64 { return int64(f.HighDateTime)<<32 | int64(f.LowDateTime) }
	return time.Duration(100 * (ticks(kernel) + ticks(user)))
}
