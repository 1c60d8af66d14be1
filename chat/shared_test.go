package chat

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

const shared = "../../shared"

func readShared(t testing.TB, name string, v any) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(shared, name))
	if err != nil {
		t.Skipf("../shared absent: %v", err)
	}
	if err := json.Unmarshal(raw, v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}
