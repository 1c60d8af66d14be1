package main

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// ownOutput starts this program again and returns what it writes: every row is measured in a process of its own, so that its peak memory is
// its own and nothing is warm from the row before. Ctrl-C reaches it as an interrupt.
func ownOutput(ctx context.Context, args []string) ([]byte, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		lines := strings.Split(strings.TrimSpace(said.String()), "\n")
		return nil, fmt.Errorf("hone %s: %w: %s", strings.Join(args, " "), err, strings.TrimPrefix(lines[len(lines)-1], "hone: "))
	}
	return out.Bytes(), nil
}

// ownResults runs a verb of hone bench with --json and returns its objects.
func ownResults[T any](ctx context.Context, args []string) ([]T, error) {
	out, err := ownOutput(ctx, append(append([]string{"bench"}, args...), "--json"))
	if err != nil {
		return nil, err
	}
	var list []T
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var r T
		if err := d.Decode(&r); err != nil {
			return nil, fmt.Errorf("hone bench %s: %w", strings.Join(args, " "), err)
		}
		list = append(list, r)
	}
	return list, nil
}

// ownSize returns the size of this program's file, and what strip would leave of it where the system's format tells.
func ownSize() (whole, stripped int64, err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, 0, err
	}
	info, err := os.Stat(self)
	if err != nil {
		return 0, 0, err
	}
	whole = info.Size()
	f, err := elf.Open(self)
	if err != nil {
		return whole, 0, nil // another format
	}
	defer f.Close()
	stripped = whole
	for _, s := range f.Sections {
		if strings.HasPrefix(s.Name, ".debug") || strings.HasPrefix(s.Name, ".zdebug") || s.Name == ".symtab" || s.Name == ".strtab" {
			stripped -= int64(s.FileSize)
		}
	}
	return whole, stripped, nil
}
