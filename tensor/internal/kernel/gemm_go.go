package kernel

// gemmOps says how the tile kernels of one instruction set are cut.
type gemmOps struct {
	lanes   int    // columns of one vector
	rows    int    // rows of the largest tile
	wide    [5]int // vectors of the wide tile of 1 to 4 rows; 0 = none
	nt      int    // rows up to which a B that lies transposed is transposed in registers
	nn      int    // rows up to which any other is read where it lies
	nnBlock int    // rows of it that wait in the cache for the next rows of A
	pairs   bool   // elements of A and B are pairs of bf16
}

var gemmGo = gemmOps{lanes: 1, rows: 8, nn: 8, nnBlock: blockK}

// multiplyGo computes C[m][n] (+)= A B with k ascending. Row i of A begins at i/8*ats + i%8*rsa, its columns are csa apart. float32(x*y) keeps
// compilers from fusing the product into the sum: some processors could and others not.
func multiplyGo(m, n, k int, a []float32, rsa, csa, ats int, b []float32, ldb int, c []float32, ldc int, acc bool) {
	for i := range m {
		out := c[i*ldc : i*ldc+n]
		if !acc {
			clear(out)
		}
		at := i/gemmGo.rows*ats + i%gemmGo.rows*rsa
		q := 0
		for ; q+4 <= k; q += 4 {
			x0, x1, x2, x3 := a[at+q*csa], a[at+(q+1)*csa], a[at+(q+2)*csa], a[at+(q+3)*csa]
			b0, b1, b2, b3 := b[q*ldb:][:len(out)], b[(q+1)*ldb:][:len(out)], b[(q+2)*ldb:][:len(out)], b[(q+3)*ldb:][:len(out)]
			for j, s := range out {
				s += float32(x0 * b0[j])
				s += float32(x1 * b1[j])
				s += float32(x2 * b2[j])
				s += float32(x3 * b3[j])
				out[j] = s
			}
		}
		for ; q < k; q++ {
			x, row := a[at+q*csa], b[q*ldb:][:len(out)]
			for j := range out {
				out[j] += float32(x * row[j])
			}
		}
	}
}
