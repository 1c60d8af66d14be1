// Package bench holds the scripts that time other programs on the shapes of hone bench.
package bench

import "embed"

// Peers holds the scripts in peers: Python that needs the programs it times, and nothing of hone.
//
//go:embed peers/*.py
var Peers embed.FS
