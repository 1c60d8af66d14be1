package main

import "testing"

// A null that encoding/json would read as 0 is an error wherever it stands; where null means something it is not.
func TestLostNull(t *testing.T) {
	type part struct {
		Weights []float64  `json:"weights"`
		Sampled []*float64 `json:"sampled,omitempty"`
		Reward  *float64   `json:"reward,omitempty"`
		Name    string     `json:"name,omitempty"`
	}
	type request struct {
		Tokens []int32 `json:"tokens,omitempty"`
		Parts  []part  `json:"parts,omitempty"`
	}
	for line, good := range map[string]bool{
		`{"tokens": [1, 2]}`: true, `{"tokens": [1, null]}`: false, `{"tokens": null}`: false,
		`{"parts": [{"weights": [0.5], "sampled": [null, -1], "reward": null, "name": "null"}]}`: true,
		`{"parts": [{"weights": [null]}]}`:                 false,
		`{"parts": [null]}`:                                false,
		`{"parts": [{"weights": [1]}, {"weights": null}]}`: false,
		`{"parts": [{"weights": [1], "name": null}]}`:      false,
	} {
		if err := decodeRequest([]byte(line), &request{}); (err == nil) != good {
			t.Errorf("%s: %v", line, err)
		}
	}
}
