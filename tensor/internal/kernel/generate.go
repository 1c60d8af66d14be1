package kernel

//go:generate go -C gen run . -what gemm -out ../gemm_amd64.s -stubs ../gemm_stub_amd64.go -pkg kernel
//go:generate go -C gen run . -what bf16 -out ../bf16_amd64.s -stubs ../bf16_stub_amd64.go -pkg kernel
//go:generate go -C gen run . -what vec -out ../vec_amd64.s -stubs ../vec_stub_amd64.go -pkg kernel
//go:generate go -C gen run . -what quant -out ../quant_amd64.s -stubs ../quant_stub_amd64.go -pkg kernel
