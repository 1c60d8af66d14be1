package model

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/hone-lm/hone/internal/rng"
	"github.com/hone-lm/hone/model/safetensors"
)

// damage changes data as transfers, editors and hostile hands do.
func damage(data []byte, key rng.Key) []byte {
	draw := func(i uint64, n int) int { return key.Intn(i, max(n, 1)) }
	at, b := draw(1, len(data)), bytes.Clone(data)
	switch draw(0, 9) {
	case 0: // cut short
		return b[:at]
	case 1: // one bit
		b[at] ^= 1 << draw(2, 8)
	case 2: // a byte of the first hundred, where lengths stand
		b[draw(1, min(len(b), 100))] = byte(draw(2, 256))
	case 3: // a stretch is missing
		return append(b[:at], b[min(len(b), at+1+draw(2, 40)):]...)
	case 4: // a stretch stands twice
		return append(append(bytes.Clone(b[:at]), b[max(0, at-draw(2, 40)):at]...), b[at:]...)
	case 5: // zeros
		clear(b[at:min(len(b), at+1+draw(2, 16))])
	case 6: // ones
		for i := at; i < min(len(b), at+8); i++ {
			b[i] = 0xFF
		}
	case 7: // another digit
		return anotherDigit(b, at, byte('0'+draw(2, 10)))
	case 8: // something behind the end
		return append(b, data[:draw(2, 64)]...)
	}
	return b
}

// anotherDigit replaces the first digit from at on.
func anotherDigit(b []byte, at int, digit byte) []byte {
	for i := at; i < len(b); i++ {
		if '0' <= b[i] && b[i] <= '9' {
			b[i] = digit
			break
		}
	}
	return b
}

// TestDamage loads models and adapters of which one file is damaged: it never panics, an error names the file, and what loads can be run.
func TestDamage(t *testing.T) {
	rounds := 300
	if testing.Short() {
		rounds = 50
	}
	for _, c := range []struct {
		name  string
		write func(t *testing.T, dir string)
		load  func(dir string) (*Model, error)
	}{
		{"folder", func(t *testing.T, dir string) {
			if err := small(t, Qwen3, func(c *Config) { c.Layers = 2 }).SaveHF(dir, safetensors.BF16); err != nil {
				t.Fatal(err)
			}
		}, Load},
		{"gguf", func(t *testing.T, dir string) {
			path := ggufFile(t, small(t, Llama, nil), ggufMeta("llama"), nil)
			if err := os.Rename(path, filepath.Join(dir, "m.gguf")); err != nil {
				t.Fatal(err)
			}
		}, func(dir string) (*Model, error) { return Load(filepath.Join(dir, "m.gguf")) }},
		{"adapter", func(t *testing.T, dir string) {
			m := small(t, GPT2, nil)
			if err := m.AddLoRA(LoRASpec{Rank: 2, Alpha: 4}); err != nil {
				t.Fatal(err)
			}
			if err := m.SaveAdapter(dir); err != nil {
				t.Fatal(err)
			}
		}, func(dir string) (*Model, error) {
			m := small(t, GPT2, nil)
			return m, m.LoadAdapter(dir)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			c.write(t, dir)
			damageAll(t, dir, rounds, c.load)
		})
	}
}

func damageAll(t *testing.T, dir string, rounds int, load func(dir string) (*Model, error)) {
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	loaded := 0
	for _, f := range files {
		path := filepath.Join(dir, f.Name())
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := range rounds {
			key := rng.New(uint64(i), "damage").Sub(f.Name())
			bad := damage(whole, key)
			if err := os.WriteFile(path, bad, 0o644); err != nil {
				t.Fatal(err)
			}
			if err := attempt(dir, load); err == nil {
				loaded++
			} else if strings.HasPrefix(err.Error(), "panic") || !strings.Contains(err.Error(), dir) {
				t.Errorf("%s, damage %d: %v", f.Name(), i, err)
			}
		}
		if err := os.WriteFile(path, whole, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := attempt(dir, load); err != nil {
		t.Errorf("undamaged: %v", err)
	}
	t.Logf("%d of %d damaged files were read", loaded, rounds*len(files))
}

// attempt loads and runs; a panic is returned as an error.
func attempt(dir string, load func(string) (*Model, error)) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	m, err := load(dir)
	if err != nil {
		return err
	}
	tokens := []int32{0, 1, 2}
	if m.Check(tokens) == nil {
		score(m, [][]int32{tokens})
	}
	return nil
}
