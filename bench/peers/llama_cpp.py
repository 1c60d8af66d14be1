"""llama.cpp's llama-bench on a GGUF file of random weights of a shape of `hone bench decode`, written with the gguf package.

    python bench/peers/llama_cpp.py --shape 135M --threads 2 --prompt 16 --new 112     (one stream)
    python bench/peers/llama_cpp.py --shape 135M --threads 2 --prompt 512 --new 0      (reading of the prompt)
"""
import json
import os
import subprocess
import sys
import tempfile

import common


def write(path, shape, precision):
    import gguf
    import numpy

    width, layers, heads, kv, inner, vocab, _, _ = common.SHAPES[shape]
    draw = numpy.random.default_rng(1)
    w = gguf.GGUFWriter(path, "llama")
    w.add_context_length(8192)
    w.add_embedding_length(width)
    w.add_block_count(layers)
    w.add_feed_forward_length(inner)
    w.add_head_count(heads)
    w.add_head_count_kv(kv)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_rope_freq_base(10000.0)
    w.add_vocab_size(vocab)
    w.add_tokenizer_model("none")

    def matrix(name, rows, cols):
        data = (draw.standard_normal((rows, cols)) * 0.02).astype(numpy.float32)
        if precision == "bf16":
            w.add_tensor(name, gguf.quants.quantize(data, gguf.GGMLQuantizationType.BF16), raw_dtype=gguf.GGMLQuantizationType.BF16)
        else:
            w.add_tensor(name, data)

    def ones(name):
        w.add_tensor(name, numpy.ones(width, numpy.float32))

    matrix("token_embd.weight", vocab, width)
    ones("output_norm.weight")
    for i in range(layers):
        b = f"blk.{i}."
        ones(b + "attn_norm.weight")
        ones(b + "ffn_norm.weight")
        for name, rows, cols in (("attn_q", width, width), ("attn_k", kv * width // heads, width), ("attn_v", kv * width // heads, width), ("attn_output", width, width),
                                 ("ffn_gate", inner, width), ("ffn_up", inner, width), ("ffn_down", width, inner)):
            matrix(b + name + ".weight", rows, cols)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def speed(out, new):
    """Tokens a second of the fastest repetition in llama-bench's JSON."""
    for run in json.loads(out):
        if (run["n_gen"] > 0) == (new > 0):
            return max(run.get("samples_ts") or [run["avg_ts"]]), run.get("build_number", "")
    raise SystemExit("llama-bench's answer has no such run")


def main():
    p = common.flags(__doc__.splitlines()[0])
    p.add_argument("--prompt", type=int, default=16)
    p.add_argument("--new", type=int, default=64, help="0 = reading of the prompt")
    p.add_argument("--recorded", help="read llama-bench's JSON from this file instead of running it")
    args = p.parse_args()
    if args.recorded:
        with open(args.recorded, encoding="utf-8") as f:
            out = f.read()
    else:
        common.need("llama.cpp", ["gguf", "numpy"], ["llama-bench"])
        with tempfile.TemporaryDirectory() as d:
            path = os.path.join(d, "random.gguf")
            write(path, args.shape, args.precision)
            what = ["-p", "0", "-n", str(args.new)] if args.new else ["-p", str(args.prompt), "-n", "0"]
            run = subprocess.run(["llama-bench", "-m", path, "-t", str(args.threads), "-ngl", "0", "-ctk", "f32", "-ctv", "f32", "-r", str(max(2, int(args.time))), "-o", "json", *what], stdout=subprocess.PIPE)
            if run.returncode != 0:
                sys.exit(run.returncode)
            out = run.stdout.decode()
    rate, build = speed(out, args.new)
    kind = f"decode {args.shape} {args.precision}, 1 stream, new {args.new}" if args.new else f"prefill {args.shape} {args.precision}, prompt {args.prompt}"
    common.report(f"llama.cpp {build}".strip(), f"{kind}, {args.threads} threads", rate)


main()
