// Package nano is the small model that comes with hone: a byte-level Llama of under a million parameters, trained by hone itself on text
// that hone generates (see Row and docs/nano.md).
package nano

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hone-lm/hone/model"
)

//go:embed nano.safetensors
var weights []byte

//go:embed config.json
var config []byte

// Weights returns the embedded safetensors file (bf16).
func Weights() []byte { return weights }

// Config describes the model: 128 wide, 4 layers, 4 heads, a vocabulary of 336 bytes and tags, tied head.
func Config() model.Config {
	return model.Config{Family: model.Llama, Vocab: 336, Hidden: 128, Inner: 352, Layers: 4, Heads: 4, KVHeads: 4, HeadDim: 32, MaxPos: 512, NormEps: 1e-5, Tied: true, RopeTheta: 10000}
}

// Model returns the model with its trained weights.
func Model() (*model.Model, error) {
	dir, err := os.MkdirTemp("", "hone-nano")
	if err != nil {
		return nil, fmt.Errorf("embedded nano model: %w", err)
	}
	defer os.RemoveAll(dir)
	for name, b := range map[string][]byte{"config.json": config, "model.safetensors": weights} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			return nil, fmt.Errorf("embedded nano model: %w", err)
		}
	}
	m, err := model.Load(dir)
	if err != nil {
		return nil, fmt.Errorf("embedded nano model: %w", err)
	}
	m.Path = "nano"
	return m, nil
}
