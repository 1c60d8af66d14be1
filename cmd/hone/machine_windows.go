package main

import (
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

func cpuName() string { return os.Getenv("PROCESSOR_IDENTIFIER") }

// memoryStatusEx is MEMORYSTATUSEX of sysinfoapi.h.
type memoryStatusEx struct {
	Length, Load                                                                       uint32
	TotalPhys, AvailPhys, TotalPage, AvailPage, TotalVirtual, AvailVirtual, AvailExtra uint64
}

// systemMemory returns the machine's memory and what is free for programs, in bytes; 0 = unknown.
func systemMemory() (total, free int64) {
	var s memoryStatusEx
	s.Length = uint32(unsafe.Sizeof(s))
	ok, _, _ := windows.NewLazySystemDLL("kernel32.dll").NewProc("GlobalMemoryStatusEx").Call(uintptr(unsafe.Pointer(&s)))
	if ok == 0 {
		return 0, 0
	}
	return int64(s.TotalPhys), int64(s.AvailPhys)
}
