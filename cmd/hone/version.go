package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

type versionCmd struct {
	JSON bool `name:"json" help:"One JSON object instead of text."`
}

// buildInfo is what the Go toolchain wrote into the binary.
type buildInfo struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Modified bool   `json:"modified,omitempty"` // built from a tree with uncommitted changes
	Time     string `json:"time,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	Tags     string `json:"tags,omitempty"`
}

func readBuildInfo() buildInfo {
	b := buildInfo{Version: "unknown", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	b.Version = info.Main.Version
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		case "vcs.time":
			b.Time = s.Value
		case "-tags":
			b.Tags = s.Value
		}
	}
	return b
}

func (c *versionCmd) Run(a *app) error {
	b := readBuildInfo()
	if c.JSON {
		return a.printJSON(b)
	}
	fmt.Fprintf(a.out, "hone %s  %s  %s\n", b.Version, b.Go, b.Platform)
	if b.Revision != "" {
		state := ""
		if b.Modified {
			state = ", with uncommitted changes"
		}
		fmt.Fprintf(a.out, "commit %s of %s%s\n", b.Revision, b.Time, state)
	}
	if b.Tags != "" {
		fmt.Fprintf(a.out, "build tags %s\n", b.Tags)
	}
	return nil
}
