//go:build !linux && !darwin && !freebsd && !windows

package run

import "os"

// On systems that hone is not tested on, runs are not guarded against a second writer and free space is unknown.

func lockHandle(*os.File) error { return nil }

func isDiskFull(error) bool { return false }

func freeBytes(string) (int64, bool) { return 0, false }

func syncDir(string) error { return nil }
