"""Random checkpoints in the ways that config.json allows, with log-probs and greedy continuations made by transformers in float64.

    python conformance/model_cases.py OUT [NAME ...]
"""
import json
import os
import shutil
import sys

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM

from common import Cases

torch.set_num_threads(1)
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

VOCAB = 96
BASE = dict(vocab_size=VOCAB, hidden_size=32, intermediate_size=80, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
            max_position_embeddings=64, bos_token_id=None, eos_token_id=None, pad_token_id=None)
GPT2 = dict(vocab_size=VOCAB, n_embd=32, n_layer=3, n_head=4, n_positions=64, bos_token_id=None, eos_token_id=None)


def rope(**k):
    k.setdefault("rope_theta", 10000.0)
    return {"rope_parameters": k}


YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=16)
L3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16)

# name: (model_type, configuration, edits of the written config.json, dtype, how it is written)
V = {
    "llama-bias": ("llama", dict(attention_bias=True, mlp_bias=True)),
    "llama-attention-bias": ("llama", dict(attention_bias=True)),
    "llama-mlp-bias": ("llama", dict(mlp_bias=True, tie_word_embeddings=True)),
    "llama-head-dim": ("llama", dict(head_dim=12)),
    "llama-head-dim-odd": ("llama", dict(head_dim=10, num_key_value_heads=1)),
    "llama-mqa": ("llama", dict(num_key_value_heads=1)),
    "llama-mha": ("llama", dict(num_key_value_heads=4)),
    "llama-no-kv": ("llama", dict(num_key_value_heads=4), {"num_key_value_heads": None}),
    "llama-kv-absent": ("llama", dict(num_key_value_heads=4), {"-": ["num_key_value_heads"]}),
    "llama-long": ("llama", dict(max_position_embeddings=512)),
    "qwen3-long": ("qwen3", dict(max_position_embeddings=512, head_dim=12, num_key_value_heads=1)),
    "gpt2-long": ("gpt2", dict(n_positions=512)),
    "llama-one-layer": ("llama", dict(num_hidden_layers=1)),
    "llama-odd-sizes": ("llama", dict(hidden_size=36, intermediate_size=50, num_attention_heads=6, num_key_value_heads=3, vocab_size=97)),
    "llama-eps": ("llama", dict(rms_norm_eps=1e-2)),
    "llama-eps-absent": ("llama", dict(rms_norm_eps=1e-6), {"-": ["rms_norm_eps"]}),
    "llama-gelu": ("llama", dict(hidden_act="gelu")),
    "llama-gelu-tanh": ("llama", dict(hidden_act="gelu_pytorch_tanh")),
    "llama-relu": ("llama", dict(hidden_act="relu")),
    "llama-swish": ("llama", dict(hidden_act="swish")),
    "llama-theta": ("llama", rope(rope_type="default", rope_theta=123456.0)),
    "llama-theta-legacy": ("llama", rope(rope_type="default", rope_theta=123456.0), "legacy"),
    "llama-theta-absent": ("llama", {}, {"-": ["rope_parameters", "rope_theta", "rope_scaling"]}),
    "llama-linear": ("llama", rope(rope_type="linear", factor=2.5)),
    "llama-linear-legacy": ("llama", rope(rope_type="linear", factor=2.5), "legacy"),
    "llama-linear-oldest": ("llama", rope(rope_type="linear", factor=2.5), "oldest"),
    "llama-dynamic": ("llama", rope(rope_type="dynamic", factor=2.5)),
    "llama-dynamic-legacy": ("llama", rope(rope_type="dynamic", factor=2.5), "legacy"),
    "llama-dynamic-oldest": ("llama", rope(rope_type="dynamic", factor=2.5), "oldest"),
    "llama-dynamic-original": ("llama", rope(rope_type="dynamic", factor=4.0, original_max_position_embeddings=16)),
    "llama-llama3": ("llama", rope(**L3)),
    "llama-llama3-legacy": ("llama", rope(**L3), "legacy"),
    "llama-llama3-both": ("llama", rope(**L3), "both"),
    "llama-yarn": ("llama", rope(**YARN)),
    "llama-yarn-legacy": ("llama", rope(**YARN), "legacy"),
    "llama-yarn-oldest": ("llama", rope(**YARN), "oldest"),
    "llama-yarn-other-factor": ("llama", rope(**{**YARN, "factor": 8.0})),
    "llama-yarn-other-factor-legacy": ("llama", rope(**{**YARN, "factor": 8.0}), "legacy"),
    "llama-yarn-attention": ("llama", rope(**YARN, attention_factor=1.3)),
    "llama-yarn-betas": ("llama", rope(**YARN, beta_fast=8.0, beta_slow=2.0)),
    "llama-yarn-mscale": ("llama", rope(**YARN, mscale=0.7, mscale_all_dim=1.4)),
    "llama-yarn-mscale-one": ("llama", rope(**YARN, mscale=0.7)),
    "llama-yarn-untruncated": ("llama", rope(**YARN, truncate=False)),
    "llama-yarn-no-original": ("llama", rope(rope_type="yarn", factor=4.0), "legacy"),
    "llama-longrope": ("llama", rope(rope_type="longrope", factor=4.0, short_factor=[1.1, 1.2, 1.3, 1.4], long_factor=[2.0, 3.0, 4.0, 5.0], original_max_position_embeddings=16)),
    "llama-partial": ("llama", {"rope_parameters": dict(rope_type="default", rope_theta=10000.0, partial_rotary_factor=0.5)}),
    "llama-pretraining-tp": ("llama", dict(pretraining_tp=2)),
    "llama-bf16": ("llama", {}, {}, torch.bfloat16),
    "llama-f16": ("llama", dict(tie_word_embeddings=True), {}, torch.float16),
    "llama-f64": ("llama", {}, {}, torch.float64),
    "llama-sharded-bf16": ("llama", {}, {}, torch.bfloat16, dict(max_shard_size="20KB")),
    "llama-mixed": ("llama", {}, {}, torch.float32, "mixed"),
    "llama-tied-head-stored": ("llama", dict(tie_word_embeddings=True), {}, torch.float32, "head"),
    "llama-tied-by-default": ("llama", {}, {"tie_word_embeddings": True}, torch.float32, "drop-head"),
    "llama-bare": ("llama", dict(tie_word_embeddings=True), {}, torch.float32, "bare"),
    "qwen2": ("qwen2", {}),
    "qwen2-tied": ("qwen2", dict(tie_word_embeddings=True)),
    "qwen2-window-off": ("qwen2", dict(use_sliding_window=False, sliding_window=8, max_window_layers=1)),
    "qwen2-window-on": ("qwen2", dict(use_sliding_window=True, sliding_window=8, max_window_layers=1)),
    "qwen2-window-on-legacy": ("qwen2", dict(use_sliding_window=True, sliding_window=8, max_window_layers=1), {"-": ["layer_types"]}),
    "qwen2-window-late": ("qwen2", dict(use_sliding_window=True, sliding_window=8, max_window_layers=3)),
    "qwen2-window-late-legacy": ("qwen2", dict(use_sliding_window=True, sliding_window=8, max_window_layers=3), {"-": ["layer_types"]}),
    "qwen2-window-wide": ("qwen2", dict(use_sliding_window=True, sliding_window=64, max_window_layers=0)),
    "qwen2-layer-types": ("qwen2", dict(use_sliding_window=True, sliding_window=8, layer_types=["full_attention", "sliding_attention", "full_attention"])),
    "qwen2-types-off": ("qwen2", dict(use_sliding_window=False, sliding_window=8, layer_types=["full_attention"] * 3)),
    "qwen2-yarn": ("qwen2", rope(**YARN), "legacy"),
    "qwen2-head-dim": ("qwen2", dict(head_dim=12)),
    "qwen2-gelu": ("qwen2", dict(hidden_act="gelu")),
    "qwen2-legacy": ("qwen2", rope(rope_type="default", rope_theta=1e6), "legacy"),
    "qwen3": ("qwen3", dict(head_dim=12)),
    "qwen3-bias": ("qwen3", dict(head_dim=8, attention_bias=True)),
    "qwen3-tied": ("qwen3", dict(head_dim=16, tie_word_embeddings=True, rms_norm_eps=1e-3)),
    "qwen3-window-on": ("qwen3", dict(head_dim=8, use_sliding_window=True, sliding_window=8, max_window_layers=1)),
    "qwen3-window-off": ("qwen3", dict(head_dim=8, use_sliding_window=False, sliding_window=8, max_window_layers=1), "legacy"),
    "qwen3-head-dim-absent": ("qwen3", dict(head_dim=128), {"-": ["head_dim"]}),
    "qwen3-yarn": ("qwen3", dict(head_dim=8, **rope(**YARN)), "legacy"),
    "qwen3-llama3": ("qwen3", dict(head_dim=8, **rope(**L3))),
    "smollm3": ("smollm3", dict(num_hidden_layers=5)),
    "smollm3-interval": ("smollm3", dict(num_hidden_layers=5, no_rope_layer_interval=2)),
    "smollm3-interval-legacy": ("smollm3", dict(num_hidden_layers=5, no_rope_layer_interval=2), {"-": ["no_rope_layers", "layer_types"]}),
    "smollm3-layers": ("smollm3", dict(no_rope_layers=[1, 0, 1])),
    "smollm3-all-rope": ("smollm3", dict(no_rope_layers=[1, 1, 1])),
    "smollm3-no-rope": ("smollm3", dict(no_rope_layers=[0, 0, 0])),
    "smollm3-bias": ("smollm3", dict(attention_bias=True, mlp_bias=True)),
    "smollm3-untied": ("smollm3", dict(tie_word_embeddings=False)),
    "smollm3-window": ("smollm3", dict(use_sliding_window=True, sliding_window=8, no_rope_layers=[1, 0, 1])),
    "smollm3-window-all-rope": ("smollm3", dict(use_sliding_window=True, sliding_window=8, no_rope_layers=[1, 1, 1])),
    "smollm3-theta-absent": ("smollm3", {}, {"-": ["rope_parameters", "rope_theta"]}),
    "smollm3-yarn": ("smollm3", rope(**YARN), "legacy"),
    "gpt2": ("gpt2", {}),
    "gpt2-inner": ("gpt2", dict(n_inner=50)),
    "gpt2-inverse-layer": ("gpt2", dict(scale_attn_by_inverse_layer_idx=True)),
    "gpt2-unscaled": ("gpt2", dict(scale_attn_weights=False)),
    "gpt2-reorder": ("gpt2", dict(reorder_and_upcast_attn=True)),
    "gpt2-reorder-inverse": ("gpt2", dict(reorder_and_upcast_attn=True, scale_attn_by_inverse_layer_idx=True)),
    "gpt2-gelu": ("gpt2", dict(activation_function="gelu")),
    "gpt2-relu": ("gpt2", dict(activation_function="relu")),
    "gpt2-silu": ("gpt2", dict(activation_function="silu")),
    "gpt2-tanh": ("gpt2", dict(activation_function="tanh")),
    "gpt2-quick": ("gpt2", dict(activation_function="quick_gelu")),
    "gpt2-gelu-fast": ("gpt2", dict(activation_function="gelu_fast")),
    "gpt2-gelu-python": ("gpt2", dict(activation_function="gelu_python")),
    "gpt2-gelu-10": ("gpt2", dict(activation_function="gelu_10")),
    "gpt2-relu2": ("gpt2", dict(activation_function="relu2")),
    "gpt2-gelu-tanh": ("gpt2", dict(activation_function="gelu_pytorch_tanh")),
    "gpt2-untied": ("gpt2", dict(tie_word_embeddings=False)),
    "gpt2-eps": ("gpt2", dict(layer_norm_epsilon=1e-2)),
    "gpt2-bf16": ("gpt2", {}, {}, torch.bfloat16),
    "gpt2-bare": ("gpt2", {}, {}, torch.float32, "bare"),
    "gpt2-masks": ("gpt2", {}, {}, torch.float32, "masks"),
    "gpt2-sharded": ("gpt2", {}, {}, torch.float32, dict(max_shard_size="20KB")),
    "mistral": ("mistral", dict(sliding_window=None)),
    "gemma": ("gemma", dict(head_dim=8)),
    "phi3": ("phi3", {}),
    "olmo2": ("olmo2", {}),
}


def randomise(model, seed):
    g = torch.Generator().manual_seed(seed)
    tied = model.config.tie_word_embeddings
    head = model.get_output_embeddings().weight
    for name, p in model.named_parameters():
        z = torch.randn(p.shape, generator=g, dtype=torch.float64)
        if "embed_tokens" in name or "wte" in name or "wpe" in name:
            z *= 0.45 if tied else 0.9
        elif p is head:
            z *= 0.4
        elif name.endswith("bias"):
            z *= 0.3
        elif p.dim() == 1:
            z = 1 + 0.3 * z
        else:
            inputs = p.shape[0] if model.config.model_type == "gpt2" else p.shape[1]
            z *= 1.6 / inputs**0.5
        p.data.copy_(z)


def rewrite(dir, edits):
    """Brings config.json into the spelling of older versions, or changes fields."""
    path = os.path.join(dir, "config.json")
    c = json.load(open(path))
    if edits in ("legacy", "oldest", "both"):
        r = c.pop("rope_parameters")
        c["rope_theta"] = r.pop("rope_theta")
        c["torch_dtype"] = c.pop("dtype")
        c["transformers_version"] = "4.46.0"
        if r["rope_type"] == "default":
            c["rope_scaling"] = None
        else:
            kind = r.pop("rope_type")
            names = {"legacy": ["rope_type"], "oldest": ["type"], "both": ["rope_type", "type"]}[edits]
            c["rope_scaling"] = {**r, **{n: kind for n in names}}
        for k in ("layer_types", "head_dim" if c["model_type"] == "llama" else ""):
            c.pop(k, None)
    else:
        for k in edits.get("-", []):
            c.pop(k, None)
        c.update({k: v for k, v in edits.items() if k != "-"})
    json.dump(c, open(path, "w"), indent=2)


def restore(dir, how):
    """Writes the weights in another legal way."""
    from safetensors.torch import load_file, save_file
    path = os.path.join(dir, "model.safetensors")
    w = load_file(path)
    if how == "mixed":
        kinds = [torch.float32, torch.float16, torch.bfloat16]
        w = {k: v.to(kinds[i % 3]) for i, (k, v) in enumerate(w.items())}
    elif how == "head":
        w["lm_head.weight"] = w["model.embed_tokens.weight"].clone()
    elif how == "drop-head":
        w.pop("lm_head.weight")
    elif how == "bare":
        w = {k.split(".", 1)[1]: v for k, v in w.items()}
    elif how == "masks":
        for i in range(3):
            w[f"transformer.h.{i}.attn.bias"] = torch.tril(torch.ones(1, 1, 64, 64))
            w[f"transformer.h.{i}.attn.masked_bias"] = torch.tensor(-1e4)
    save_file(w, path, {"format": "pt"})


def requests(c, args, model, vocab, seed, context=64):
    """Adds log-prob and generation cases."""
    g = torch.Generator().manual_seed(seed)
    tol = {"*": 1e-3}
    for n in (1, 2, 17, 33, 48, (context + 64) // 2, context):
        tokens = torch.randint(0, vocab, (n,), generator=g)
        with torch.no_grad():
            logits = model(tokens[None]).logits[0].double()
        lp = torch.log_softmax(logits, -1)
        ent = -(lp.exp() * lp).sum(-1)
        c.add(["logprobs", *args], {"tokens": tokens.tolist(), "logits_last": True},
              {"logprobs": [None] + lp[:-1].gather(1, tokens[1:, None])[:, 0].tolist(), "entropy": [None] + ent[:-1].tolist(), "logits_last": logits[-1].tolist()}, tol)
    for n in (1, 5, 20):
        tokens = torch.randint(0, vocab, (n,), generator=g).tolist()
        got, gaps = list(tokens), []
        for _ in range(12):
            with torch.no_grad():
                z = model(torch.tensor([got])).logits[0, -1]
            best = z.topk(2)
            gaps.append(float(best.values[0] - best.values[1]))
            got.append(int(best.indices[0]))
        c.add(["generate", *args], {"tokens": tokens, "max_new_tokens": 12, "temperature": 0}, {"tokens": got[n:]})
        c.patch({"gaps": gaps})


def build(dir, kind, config, edits=None, dtype=torch.float32, how=None, seed=0):
    base = dict(GPT2 if kind == "gpt2" else BASE)
    base.update(config)
    if kind == "qwen3":
        base.setdefault("head_dim", 8)
    cfg = AutoConfig.for_model(kind, **base)
    model = AutoModelForCausalLM.from_config(cfg, attn_implementation="eager").double()
    randomise(model, seed)
    model.to(dtype).save_pretrained(dir, **(how if isinstance(how, dict) else {}))
    if isinstance(how, str):
        restore(dir, how)
    if edits:
        rewrite(dir, edits)
    for f in ("generation_config.json",):
        p = os.path.join(dir, f)
        if os.path.exists(p):
            os.remove(p)


def main(out, *names):
    for i, (name, spec) in enumerate(V.items()):
        if names and name not in names:
            continue
        c = Cases(out, "model-" + name)
        model_dir = os.path.join(c.dir, "model")
        shutil.rmtree(model_dir, ignore_errors=True)
        try:
            build(model_dir, *spec, seed=100 + i)
            dtype = torch.float32 if "reorder" in name else torch.float64  # that path of transformers takes nothing else
            model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=dtype, attn_implementation="eager").eval()
            requests(c, ["--model", "@/model"], model, model.config.vocab_size, 200 + i, context=model.config.max_position_embeddings)
        except Exception as e:  # transformers itself does not take it
            print(name, "is refused by transformers:", type(e).__name__, str(e)[:200])
        c.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
