package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hone-lm/hone/bench"
)

// benchPeer is another program on a row of hone's: a script of bench/peers with its flags.
type benchPeer struct {
	command string // of hone
	script  string
	args    string
}

var benchPeerRows = []benchPeer{
	{"train --shape 5.4M", "torch_train.py", "--shape 5.4M"},
	{"train --shape 5.4M", "torch_train.py", "--shape 5.4M --compile"},
	{"train --shape 1.0M", "torch_train.py", "--shape 1.0M"},
	{"train --shape 1.0M", "torch_train.py", "--shape 1.0M --compile"},
	{"train --shape 15.5M", "torch_train.py", "--shape 15.5M"},
	{"train --shape 15.5M", "torch_train.py", "--shape 15.5M --compile"},
	{"train --shape 135M", "torch_train.py", "--shape 135M"},
	{"train --shape 135M", "torch_train.py", "--shape 135M --compile"},
	{"train --shape 135M --lora", "torch_train.py", "--shape 135M --lora"},
	{"train --shape 135M --precision bf16", "torch_train.py", "--shape 135M --precision bf16"},
	{"decode --shape 15.5M --prompt 16 --new 112", "llama_cpp.py", "--shape 15.5M --new 112"},
	{"decode --shape 15.5M --prompt 16 --new 112", "torch_decode.py", "--shape 15.5M --prompt 16 --new 112"},
	{"decode --shape 135M --prompt 16 --new 112", "llama_cpp.py", "--shape 135M --new 112"},
	{"decode --shape 135M --prompt 16 --new 112", "torch_decode.py", "--shape 135M --prompt 16 --new 112"},
	{"decode --shape 135M --prompt 16 --new 112 --precision bf16", "llama_cpp.py", "--shape 135M --new 112 --precision bf16"},
	{"decode --shape 5.4M --streams 32 --prompt 16 --new 64", "torch_decode.py", "--shape 5.4M --streams 32 --prompt 16 --new 64"},
	{"decode --shape 15.5M --streams 32 --prompt 16 --new 64", "torch_decode.py", "--shape 15.5M --streams 32 --prompt 16 --new 64"},
	{"prefill --shape 135M --prompt 512", "llama_cpp.py", "--shape 135M --prompt 512 --new 0"},
	{"prefill --shape 135M --prompt 512", "torch_decode.py", "--shape 135M --prompt 512 --new 1"},
	{"grpo", "trl_grpo.py", ""},
}

// peerResult is what a script prints.
type peerResult struct {
	Peer         string   `json:"peer"`
	Case         string   `json:"case"`
	TokensPerSec float64  `json:"tokens_per_s"`
	StepSeconds  float64  `json:"step_s,omitempty"`
	Missing      []string `json:"missing,omitempty"`
	Install      string   `json:"install,omitempty"`
}

// peerLine is one line of hone bench --peers --json.
type peerLine struct {
	peerResult
	Command string  `json:"command"` // of hone
	Hone    float64 `json:"hone_tokens_per_s"`
	Ratio   float64 `json:"hone_over_peer"`
}

// peers times the programs that are installed, each between two runs of hone's on the same row, and prints how many times as fast hone is.
func (t *benchTable) peers() error {
	dir, err := os.MkdirTemp("", "hone-peers")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	scripts, err := fs.Sub(bench.Peers, "peers")
	if err == nil {
		err = os.CopyFS(dir, scripts)
	}
	if err != nil {
		return err
	}
	threads := slices.Max(t.c.Threads)
	var lines []peerLine
	absent := map[string]bool{}
	for _, p := range benchPeerRows {
		args := (&benchTarget{command: p.command}).on(threads)
		if !t.only.MatchString(benchCommand(args)) {
			continue
		}
		l, err := t.versus(p, dir, args, threads, absent)
		if err != nil {
			return err
		}
		if l == nil {
			continue
		}
		lines = append(lines, *l)
		if t.c.JSON {
			if err := t.a.printJSON(l); err != nil {
				return err
			}
		}
	}
	if t.c.JSON {
		return nil
	}
	return t.tellPeers(lines)
}

// versus runs one script between two runs of hone, or says once of each program that it is not there.
func (t *benchTable) versus(p benchPeer, dir string, args []string, threads int, absent map[string]bool) (*peerLine, error) {
	before, err := t.honeSpeed(args)
	if err != nil || before == 0 {
		return nil, err
	}
	r, err := t.script(p, dir, threads)
	if err != nil {
		return nil, err
	}
	if r.Missing != nil {
		if !absent[r.Peer] {
			absent[r.Peer] = true
			fmt.Fprintf(t.a.errOut, "%s is not timed: %s missing; %s\n", r.Peer, strings.Join(r.Missing, ", "), r.Install)
		}
		return nil, nil
	}
	after, err := t.honeSpeed(args)
	if err != nil {
		return nil, err
	}
	l := &peerLine{peerResult: r, Command: benchCommand(args), Hone: max(before, after)}
	l.Ratio = l.Hone / r.TokensPerSec
	return l, nil
}

// honeSpeed is hone's own speed on a row in tokens a second; 0 = not offered yet.
func (t *benchTable) honeSpeed(args []string) (float64, error) {
	list, err := ownResults[benchResult](t.a.ctx, append(slices.Clone(args), "--time", t.c.Time.String()))
	if err != nil {
		if strings.Contains(err.Error(), notYet) {
			return 0, nil
		}
		return 0, err
	}
	return list[0].TokensPerSec, nil
}

// script runs a peer's script.
func (t *benchTable) script(p benchPeer, dir string, threads int) (peerResult, error) {
	args := append([]string{filepath.Join(dir, p.script), "--threads", fmt.Sprint(threads), "--time", fmt.Sprintf("%g", t.c.Time.Seconds())}, strings.Fields(p.args)...)
	cmd := exec.CommandContext(t.a.ctx, t.c.Python, args...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	err := cmd.Run()
	if t.a.ctx.Err() != nil {
		return peerResult{}, t.a.ctx.Err()
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return peerResult{}, badCallf("--python %s: %w", t.c.Python, err)
	}
	r, bad := readPeer(out.Bytes())
	if bad != nil || err != nil && r.Missing == nil {
		lines := strings.Split(strings.TrimSpace(said.String()), "\n")
		return r, fmt.Errorf("bench/peers/%s %s: %w: %s", p.script, p.args, errors.Join(err, bad), lines[len(lines)-1])
	}
	return r, nil
}

// readPeer reads the last line that a script printed: libraries print theirs before.
func readPeer(out []byte) (peerResult, error) {
	var r peerResult
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	if err := json.Unmarshal(lines[len(lines)-1], &r); err != nil {
		return r, fmt.Errorf("its last line %.80q is not one JSON object: %w", lines[len(lines)-1], err)
	}
	if r.Peer == "" || r.Missing == nil && !(r.TokensPerSec > 0) {
		return r, fmt.Errorf("its last line %.80q names no peer with its tokens_per_s", lines[len(lines)-1])
	}
	return r, nil
}

// tellPeers prints the table of ratios.
func (t *benchTable) tellPeers(lines []peerLine) error {
	if len(lines) == 0 {
		return t.say("no peers were timed: none is installed in %s for these rows\n", t.c.Python)
	}
	if t.c.Markdown {
		if err := t.say("\n| command | peer | peer's tokens/s | hone's tokens/s | hone over peer |\n|---|---|---|---|---|\n"); err != nil {
			return err
		}
	}
	for _, l := range lines {
		format := "%-62s %-26s %8.0f tokens/s, hone %8.0f: %.2f times\n"
		if t.c.Markdown {
			format = "| `%s` | %s | %.0f | %.0f | %.2f |\n"
		}
		if err := t.say(format, strings.TrimPrefix(l.Command, "hone "), l.Peer, l.TokensPerSec, l.Hone, l.Ratio); err != nil {
			return err
		}
	}
	return nil
}
