// Command gen writes the assembly of package kernel with avo. It is a module of its own so that users of hone do not fetch avo:
//
//	go generate ./tensor/internal/kernel
package main

import (
	"flag"
	"log"

	. "github.com/mmcloughlin/avo/build"
)

var what = flag.String("what", "", "gemm, bf16, quant or vec")

func main() {
	flag.Parse()
	ConstraintExpr("!purego")
	switch *what {
	case "gemm":
		gemm()
	case "bf16":
		bf16()
	case "quant":
		quant()
	case "vec":
		vec()
	default:
		log.Fatalf("-what %q: want gemm, bf16, quant or vec", *what)
	}
	Generate()
}
