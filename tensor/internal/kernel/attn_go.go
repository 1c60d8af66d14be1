package kernel

func attnProdGo(m, n, k int, a []float32, rsa, csa int, b []float32, ldb int, c []float32, ldc int, corr []float32, mode int) {
	for i := range m {
		row := c[i*ldc:][:n]
		switch mode {
		case prodSet:
			clear(row)
		case prodRescale:
			for x := range row {
				row[x] *= corr[i]
			}
		}
		for p := range k {
			w := a[i*rsa+p*csa]
			for x, v := range b[p*ldb:][:n] {
				row[x] += float32(w * v)
			}
		}
	}
}

func attnSoftmaxGo(s []float32, valid []int32, scale float32, m, l, corr []float32) {
	for r := range corr {
		row := s[r*PageTokens:][:PageTokens]
		n := int(valid[r])
		clear(row[n:])
		corr[r] = 1
		if n == 0 {
			continue
		}
		top := m[r]
		for i, v := range row[:n] {
			row[i] = v * scale
			if row[i] > top {
				top = row[i]
			}
		}
		var sums lanes
		for i, v := range row[:n] {
			row[i] = exp(v - top)
			sums[i&15] += row[i]
		}
		corr[r] = exp(m[r] - top)
		l[r] = float32(l[r]*corr[r]) + sums.tree()
		m[r] = top
	}
}

func attnGradGo(s, dp []float32, valid []int32, scale float32, lse, d []float32) {
	for r := range d {
		p, g := s[r*PageTokens:][:PageTokens], dp[r*PageTokens:][:PageTokens]
		n := int(valid[r])
		clear(p[n:])
		clear(g[n:])
		for i := range n {
			p[i] = exp(float32(p[i]*scale) - lse[r])
			g[i] = float32(p[i]*(g[i]-d[r])) * scale
		}
	}
}

// attnLanesGo: see vecOps.attnLanes. Where there is assembly it serves the last columns.
func attnLanesGo(first, lanes, group, n, k int, a []float32, ra int, b []float32, rb, ldb int, c []float32, rc int, corr []float32, mode, _ int) {
	for i := range lanes {
		var rescale []float32
		if mode == prodRescale {
			rescale = corr[i : i+1]
		}
		active.attnProd(1, n, k, a[i*ra:], ra, 1, b[(first+i)/group*rb:], ldb, c[i*rc:], rc, rescale, mode)
	}
}
