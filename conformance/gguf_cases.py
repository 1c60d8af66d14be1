"""Tiny random models as GGUF files in the ways of llama.cpp's converter, with log-probs of the dequantised weights made by transformers in float64.

    python conformance/gguf_cases.py OUT [NAME ...]
"""
import os
import shutil
import sys

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Q
from transformers import AutoConfig, AutoModelForCausalLM

from common import Cases
from model_cases import GPT2, randomise, requests

BASE = dict(vocab_size=96, hidden_size=64, intermediate_size=96, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2,
            max_position_embeddings=64, bos_token_id=None, eos_token_id=None, pad_token_id=None)
ROPE3 = dict(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=8192)
TINY3 = dict(rope_type="llama3", rope_theta=10000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16)
YARN = dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, original_max_position_embeddings=16)

# name: (family, configuration, types of the matrices in turn, options)
V = {
    "llama-f32": ("llama", {}, [Q.F32]),
    "llama-f16": ("llama", {}, [Q.F16]),
    "llama-bf16": ("llama", {}, [Q.BF16]),
    "llama-q8_0": ("llama", {}, [Q.Q8_0]),
    "llama-q4_0": ("llama", {}, [Q.Q4_0]),
    "llama-q4_1": ("llama", {}, [Q.Q4_1]),
    "llama-q5_0": ("llama", {}, [Q.Q5_0]),
    "llama-q5_1": ("llama", {}, [Q.Q5_1]),
    "llama-mixed": ("llama", {}, [Q.F16, Q.Q8_0, Q.BF16, Q.Q4_0, Q.F32, Q.Q4_1]),
    "llama-tied": ("llama", dict(tie_word_embeddings=True), [Q.Q8_0]),
    "llama-mqa-f16": ("llama", dict(num_key_value_heads=1), [Q.F16]),
    "llama-bias": ("llama", dict(attention_bias=True, mlp_bias=True), [Q.F32]),
    "llama-head-dim": ("llama", dict(head_dim=24), [Q.F32]),
    "llama-theta": ("llama", dict(rope_parameters=dict(rope_type="default", rope_theta=500000.0)), [Q.F16]),
    "llama-rope-freqs": ("llama", dict(rope_parameters=ROPE3), [Q.F32], "freqs"),
    "llama-rope-freqs-tiny": ("llama", dict(rope_parameters=TINY3), [Q.F32], "freqs"),
    "llama-linear": ("llama", dict(rope_parameters=dict(rope_type="linear", rope_theta=10000.0, factor=2.0)), [Q.F32]),
    "llama-yarn": ("llama", dict(rope_parameters=YARN), [Q.F32]),
    "llama-vocab-meta": ("llama", {}, [Q.F32], "no-vocab-size"),
    "qwen2-f32": ("qwen2", {}, [Q.F32]),
    "qwen2-q4_1": ("qwen2", {}, [Q.Q4_1]),
    "qwen2-tied": ("qwen2", dict(tie_word_embeddings=True), [Q.Q8_0]),
    "qwen2-yarn": ("qwen2", dict(rope_parameters=YARN), [Q.F16]),
    "qwen3-f16": ("qwen3", dict(head_dim=24), [Q.F16]),
    "qwen3-q8_0": ("qwen3", dict(head_dim=32, tie_word_embeddings=True), [Q.Q8_0]),
    "smollm3-f32": ("smollm3", dict(num_hidden_layers=5), [Q.F32]),
    "smollm3-q4_0": ("smollm3", dict(num_hidden_layers=5, tie_word_embeddings=False), [Q.Q4_0]),
    "gpt2-f32": ("gpt2", {}, [Q.F32]),
    "gpt2-f16": ("gpt2", {}, [Q.F16]),
    "gpt2-q8_0": ("gpt2", dict(n_embd=64), [Q.Q8_0]),
    "gpt2-output": ("gpt2", {}, [Q.F32], "output"),
}

LLAMA = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}
NAMES_GPT2 = {
    "transformer.wte": "token_embd", "transformer.wpe": "position_embd", "transformer.ln_f": "output_norm", "lm_head": "output", "ln_1": "attn_norm", "ln_2": "ffn_norm",
    "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output", "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down",
}


def rename(name, table):
    module, kind = name.rsplit(".", 1)
    for prefix in ("model.layers.", "transformer.h."):
        if module.startswith(prefix):
            layer, module = module[len(prefix):].split(".", 1)
            return f"blk.{layer}.{table[module]}.{kind}"
    return f"{table[module]}.{kind}"


def permute(w, heads):
    """LlamaModel.permute of convert_hf_to_gguf.py."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def unpermute(w, heads):
    return w.reshape(heads, w.shape[0] // heads // 2, 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def metadata(w, cfg, kind, option):
    if kind == "gpt2":
        w.add_context_length(cfg.n_positions)
        w.add_embedding_length(cfg.n_embd)
        w.add_feed_forward_length(4 * cfg.n_embd)
        w.add_block_count(cfg.n_layer)
        w.add_head_count(cfg.n_head)
        w.add_layer_norm_eps(cfg.layer_norm_epsilon)
        w.add_file_type(1)
        return
    r = cfg.rope_parameters
    w.add_context_length(cfg.max_position_embeddings)
    w.add_embedding_length(cfg.hidden_size)
    w.add_block_count(cfg.num_hidden_layers)
    w.add_feed_forward_length(cfg.intermediate_size)
    w.add_head_count(cfg.num_attention_heads)
    w.add_head_count_kv(cfg.num_key_value_heads)
    w.add_layer_norm_rms_eps(cfg.rms_norm_eps)
    w.add_rope_freq_base(r["rope_theta"])
    head_dim = getattr(cfg, "head_dim", None) or cfg.hidden_size // cfg.num_attention_heads
    if kind in ("llama", "smollm3"):
        w.add_rope_dimension_count(head_dim)
        if option != "no-vocab-size":
            w.add_vocab_size(cfg.vocab_size)
    if kind == "qwen3" or head_dim * cfg.num_attention_heads != cfg.hidden_size:
        w.add_key_length(head_dim)
        w.add_value_length(head_dim)
    if r["rope_type"] == "linear":
        w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        w.add_rope_scaling_factor(r["factor"])
    if r["rope_type"] == "yarn":
        w.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        w.add_rope_scaling_factor(r["factor"])
        w.add_rope_scaling_orig_ctx_len(r["original_max_position_embeddings"])
    w.add_file_type(1)


def frequencies(r, dim):
    """The divisors of LlamaModel.generate_extra_tensors."""
    out = []
    for freq in 1.0 / (r["rope_theta"] ** (np.arange(0, dim, 2, dtype=np.float32) / dim)):
        wave = 2 * np.pi / freq
        low, high = r["original_max_position_embeddings"] / r["low_freq_factor"], r["original_max_position_embeddings"] / r["high_freq_factor"]
        if wave < high:
            out.append(1.0)
        elif wave > low:
            out.append(r["factor"])
        else:
            smooth = (r["original_max_position_embeddings"] / wave - r["low_freq_factor"]) / (r["high_freq_factor"] - r["low_freq_factor"])
            out.append(1 / ((1 - smooth) / r["factor"] + smooth))
    return np.array(out, dtype=np.float32)


def write(path, model, kind, types, option):
    """Writes the file and puts the dequantised weights back into the model."""
    cfg = model.config
    w = gguf.GGUFWriter(path, kind)
    w.add_name("tiny")
    metadata(w, cfg, kind, option)
    table = NAMES_GPT2 if kind == "gpt2" else LLAMA
    heads = {"q_proj": getattr(cfg, "num_attention_heads", 0), "k_proj": getattr(cfg, "num_key_value_heads", 0)}
    if option == "freqs":
        w.add_tensor("rope_freqs.weight", frequencies(cfg.rope_parameters, cfg.hidden_size // cfg.num_attention_heads))
    n = 0
    seen = {}
    for name, p in model.named_parameters():
        a = p.detach().float().numpy()
        part = name.split(".")[-2]
        transposed = kind == "gpt2" and p.dim() == 2 and part.startswith("c_")
        if transposed:
            a = np.ascontiguousarray(a.T)
        if kind in ("llama", "smollm3") and part in heads:
            a = permute(a, heads[part])
        qtype = Q.F32
        if p.dim() == 2 and "wpe" not in name:
            qtype = types[n % len(types)]
            n += 1
        if qtype not in (Q.F32, Q.F16, Q.BF16) and a.shape[-1] % 32:
            qtype = Q.F16
        raw = gguf.quants.quantize(np.ascontiguousarray(a), qtype)
        w.add_tensor(rename(name, table), raw, raw_dtype=qtype)
        seen[name] = raw
        if option == "output" and "wte" in name:
            w.add_tensor("output.weight", raw, raw_dtype=qtype)
        a = gguf.quants.dequantize(raw, qtype).reshape(a.shape)
        if kind in ("llama", "smollm3") and part in heads:
            a = unpermute(a, heads[part])
        p.data.copy_(torch.from_numpy(np.ascontiguousarray(a.T if transposed else a)))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def main(out, *names):
    for i, (name, spec) in enumerate(V.items()):
        if names and name not in names:
            continue
        kind, config, types, option = (*spec, None)[:4]
        c = Cases(out, "gguf-" + name)
        base = dict(GPT2 if kind == "gpt2" else BASE)
        base.update(config)
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **base), attn_implementation="eager").double().eval()
        randomise(model, 300 + i)
        path = os.path.join(c.dir, "model.gguf")
        write(path, model, kind, types, option)
        with open(path, "rb") as f:
            tensors = gguf.GGUFReader(path).tensors
        c.add(["inspect"], {"path": path}, {"ok": True, "tensors": [{"name": t.name, "dtype": t.tensor_type.name, "shape": [int(x) for x in reversed(t.shape)]} for t in tensors]})
        requests(c, ["--model", "@/model.gguf"], model, 96, 400 + i)
        c.close()


main(*sys.argv[1:])
