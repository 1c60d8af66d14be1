package machine

import (
	"os"
	"path/filepath"
	"testing"
)

func TestReadMemory(t *testing.T) {
	m := ReadMemory()
	if m.Total < 64<<20 || m.Free <= 0 || m.Free > m.Total {
		t.Errorf("%+v", m)
	}
}

// Control groups lower what there is: version 2 and version 1, the tightest on the way to the root; files in the cache count as free.
func TestLimit(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"memory.max": "max\n", "user/memory.max": "1000\n", "user/memory.current": "400\n", "user/memory.stat": "anon 9\ninactive_file 100\n",
		"user/app/memory.max":               "max\n",
		"memory/memory.limit_in_bytes":      "9223372036854771712\n",
		"memory/job/memory.limit_in_bytes":  "2000\n",
		"memory/job/memory.usage_in_bytes":  "1500\n",
		"memory/job/memory.stat":            "total_inactive_file 50\n",
		"memory/full/memory.limit_in_bytes": "300\n",
		"memory/full/memory.usage_in_bytes": "500\n",
	} {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for groups, want := range map[string]Memory{
		"0::/user/app\n":                   {1000, 700, 0},
		"4:memory:/job\n3:cpu:/x\n0::/\n":  {2000, 550, 0},
		"4:memory:/job\n0::/user\n":        {1000, 550, 0},
		"4:memory:/full\n":                 {300, 1, 0},
		"0::/gone/away\nnonsense\n5:cpu:/": {5000, 4000, 7},
	} {
		m := Memory{5000, 4000, 7}
		if m.limit(root, groups); m != want {
			t.Errorf("%q: %+v, want %+v", groups, m, want)
		}
	}
}
