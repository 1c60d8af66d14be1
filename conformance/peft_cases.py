"""LoRA adapters in the ways that peft's LoraConfig allows, on random checkpoints, with log-probs made by peft in float64.

    python conformance/peft_cases.py OUT [NAME ...]
"""
import json
import os
import shutil
import sys

import peft
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from common import Cases
from model_cases import VOCAB, build, requests

BASES = {
    "llama": ("llama", {}),
    "llama-bias": ("llama", dict(attention_bias=True, mlp_bias=True)),
    "llama-tied": ("llama", dict(tie_word_embeddings=True)),
    "qwen2": ("qwen2", dict(tie_word_embeddings=True)),
    "qwen3": ("qwen3", {}),
    "smollm3": ("smollm3", {}),
    "gpt2": ("gpt2", {}),
    "gpt2-untied": ("gpt2", dict(tie_word_embeddings=False)),
}
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]

# name: (base, LoraConfig, edits of adapter_config.json)
V = {
    "plain": ("llama", dict(target_modules=["q_proj", "v_proj"])),
    "all": ("llama", dict(target_modules=ALL)),
    "rslora": ("llama", dict(target_modules=ALL, use_rslora=True)),
    "all-linear": ("llama", dict(target_modules="all-linear")),
    "all-linear-gpt2": ("gpt2", dict(target_modules="all-linear", fan_in_fan_out=True)),
    "all-linear-kept": ("llama", dict(target_modules="all-linear"), {"target_modules": "all-linear"}),
    "gpt2": ("gpt2", dict(target_modules=["c_attn"], fan_in_fan_out=True)),
    "gpt2-wrong-fan": ("gpt2", dict(target_modules=["c_attn", "c_proj"], fan_in_fan_out=False)),
    "gpt2-c-proj": ("gpt2", dict(target_modules=["c_proj", "c_fc"], fan_in_fan_out=True)),
    "gpt2-attn-c-proj": ("gpt2", dict(target_modules=["attn.c_proj"], fan_in_fan_out=True)),
    "gpt2-bias-all": ("gpt2", dict(target_modules=["c_attn"], fan_in_fan_out=True, bias="all")),
    "gpt2-bias-lora-only": ("gpt2", dict(target_modules=["c_attn"], fan_in_fan_out=True, bias="lora_only")),
    "gpt2-save-head": ("gpt2", dict(target_modules=["c_attn"], fan_in_fan_out=True, modules_to_save=["lm_head"])),
    "gpt2-save-wte": ("gpt2", dict(target_modules=["c_attn"], fan_in_fan_out=True, modules_to_save=["wte"])),
    "gpt2-save-wpe-ln": ("gpt2-untied", dict(target_modules=["c_attn"], fan_in_fan_out=True, modules_to_save=["wpe", "ln_f", "ln_1"])),
    "gpt2-save-c-attn": ("gpt2", dict(target_modules=["c_fc"], fan_in_fan_out=True, modules_to_save=["c_attn"])),
    "gpt2-save-attn": ("gpt2", dict(target_modules=["c_fc"], fan_in_fan_out=True, modules_to_save=["attn"])),
    "bias-all": ("llama-bias", dict(target_modules=["q_proj"], bias="all")),
    "bias-lora-only": ("llama-bias", dict(target_modules=["q_proj", "down_proj"], bias="lora_only")),
    "bias-all-qwen2": ("qwen2", dict(target_modules=["q_proj", "o_proj"], bias="all")),
    "bias-all-none-there": ("llama", dict(target_modules=["q_proj"], bias="all")),
    "rank-pattern": ("llama", dict(target_modules=ALL, rank_pattern={"q_proj": 2, "layers.1.self_attn.v_proj": 6, r".*\.2\.mlp\.up_proj": 5})),
    "alpha-pattern": ("llama", dict(target_modules=ALL, alpha_pattern={"q_proj": 3, "layers.1.self_attn.v_proj": 20, r"model\.layers\.2\.mlp\.(up|gate)_proj": 1})),
    "both-patterns-rslora": ("qwen3", dict(target_modules=ALL, use_rslora=True, rank_pattern={"down_proj": 3, "proj": 5}, alpha_pattern={"^model.layers.0.self_attn.q_proj": 7, "k_proj": 2.5})),
    "pattern-order": ("llama", dict(target_modules=["q_proj", "up_proj"], rank_pattern={"self_attn.q_proj": 3, "q_proj": 6, "(up|q)_proj": 2})),
    "pattern-tail": ("llama", dict(target_modules=["q_proj"], rank_pattern={"proj": 3, "_proj": 6, ".*proj": 2})),
    "regex": ("llama", dict(target_modules=r".*\.(0|2)\.self_attn\.(q|v)_proj")),
    "regex-full": ("llama", dict(target_modules=r"model\.layers\.1\.mlp\..*")),
    "regex-anchors": ("llama", dict(target_modules=r"^.*layers\.[01]\..*(q_proj|up_proj)$")),
    "regex-lookahead": ("llama", dict(target_modules=r".*layers\.(?!1\.).*q_proj")),
    "regex-backref": ("llama", dict(target_modules=r".*layers\.(\d)\.self_attn\.q_pro(j)")),
    "full-name": ("llama", dict(target_modules=["model.layers.0.self_attn.q_proj", "mlp.down_proj"])),
    "partial-none": ("llama", dict(target_modules=["q_proj", "not_there"])),
    "layers": ("llama", dict(target_modules=["q_proj", "up_proj"], layers_to_transform=[0, 2])),
    "layers-one": ("llama", dict(target_modules=["q_proj"], layers_to_transform=1)),
    "layers-pattern": ("llama", dict(target_modules=["q_proj"], layers_to_transform=[0, 1], layers_pattern="layers")),
    "layers-pattern-list": ("gpt2", dict(target_modules=["c_attn"], fan_in_fan_out=True, layers_to_transform=[2], layers_pattern=["layers", "h"])),
    "layers-empty": ("llama", dict(target_modules=["q_proj"], layers_to_transform=[])),
    "layers-full-name": ("llama", dict(target_modules=["q_proj", "model.layers.1.mlp.up_proj"], layers_to_transform=[0])),
    "exclude": ("llama", dict(target_modules=ALL, exclude_modules=["q_proj", "model.layers.1.mlp.up_proj"])),
    "exclude-regex": ("llama", dict(target_modules="all-linear", exclude_modules=r".*\.0\..*")),
    "exclude-suffix": ("llama", dict(target_modules=["q_proj", "up_proj"], exclude_modules=["0.self_attn.q_proj"])),
    "save-head": ("llama", dict(target_modules=["q_proj"], modules_to_save=["lm_head"])),
    "save-both": ("llama", dict(target_modules=["q_proj"], modules_to_save=["embed_tokens", "lm_head"])),
    "save-embed": ("llama", dict(target_modules=["q_proj"], modules_to_save=["embed_tokens"])),
    "save-embed-tied": ("llama-tied", dict(target_modules=["q_proj"], modules_to_save=["embed_tokens"])),
    "save-head-tied": ("llama-tied", dict(target_modules=["q_proj"], modules_to_save=["lm_head"])),
    "save-both-tied": ("llama-tied", dict(target_modules=["q_proj"], modules_to_save=["embed_tokens", "lm_head"])),
    "save-tied-ensured": ("llama-tied", dict(target_modules=["q_proj"], modules_to_save=["embed_tokens"], ensure_weight_tying=True)),
    "save-norm": ("qwen3", dict(target_modules=["q_proj"], modules_to_save=["norm", "q_norm"])),
    "save-layernorm": ("llama", dict(target_modules=["q_proj"], modules_to_save=["input_layernorm", "post_attention_layernorm"])),
    "save-mlp": ("llama-bias", dict(target_modules=["q_proj"], modules_to_save=["mlp"])),
    "save-wins": ("llama", dict(target_modules=["q_proj", "v_proj"], modules_to_save=["v_proj"])),
    "save-layer": ("llama", dict(target_modules=["q_proj"], modules_to_save=["layers.1"])),
    "embed-target": ("llama", dict(target_modules=["q_proj", "embed_tokens"])),
    "head-target": ("llama", dict(target_modules=["q_proj", "lm_head"])),
    "regex-head": ("llama", dict(target_modules=r".*(q_proj|lm_head)")),
    "regex-everything": ("llama", dict(target_modules=r".*_proj|lm_head")),
    "save-embedding-layers": ("llama", dict(target_modules=["q_proj"]), "embedding"),
    "dora": ("llama", dict(target_modules=["q_proj"], use_dora=True)),
    "token-indices": ("llama", dict(target_modules=["q_proj"], trainable_token_indices=[1, 2, 3])),
    "token-indices-named": ("llama", dict(target_modules=["q_proj"], trainable_token_indices={"embed_tokens": [1, 2]})),
    "lora-bias": ("llama-bias", dict(target_modules=["q_proj"], lora_bias=True)),
    "target-parameters": ("llama", dict(target_modules=["q_proj"], target_parameters=["norm.weight"])),
    "layer-replication": ("llama", dict(target_modules=["q_proj"], layer_replication=[[0, 2], [1, 3]])),
    "dropout": ("llama", dict(target_modules=["q_proj"], lora_dropout=0.1)),
    "alpha-float": ("llama", dict(target_modules=["q_proj"], lora_alpha=3)),
    "rank-one": ("smollm3", dict(target_modules=ALL, r=1)),
    "rank-big": ("smollm3", dict(target_modules=["k_proj"], r=40)),
    "pissa": ("llama", dict(target_modules=["q_proj"], init_lora_weights="pissa")),
    "olora": ("llama", dict(target_modules=["q_proj"], init_lora_weights="olora")),
    "gaussian": ("llama", dict(target_modules=["q_proj"], init_lora_weights="gaussian")),
    "orthogonal": ("llama", dict(target_modules=["q_proj"], init_lora_weights="orthogonal")),
    "bf16": ("llama", dict(target_modules=ALL), "bf16"),
    "f16": ("qwen2", dict(target_modules=ALL), "f16"),
    "old-config": ("llama", dict(target_modules=["q_proj"]), "old"),
    "no-task": ("llama", dict(target_modules=["q_proj"], task_type=None)),
    "feature": ("llama", dict(target_modules=["q_proj"]), {"task_type": "SEQ_CLS"}),
}


def randomise(model, seed):
    g = torch.Generator().manual_seed(seed)
    for name, p in model.named_parameters():
        if "lora_" in name or p.requires_grad:
            z = torch.randn(p.shape, generator=g, dtype=torch.float64)
            if "lora_" in name or "trainable_tokens" in name:
                z *= 0.3
            else:
                z = p.data + 0.2 * z  # replaced tensors and biases
            p.data.copy_(z)


def main(out, *names):
    roots = os.path.join(out, "peft-bases")
    for i, (name, spec) in enumerate(BASES.items()):
        dir = os.path.join(roots, name)
        shutil.rmtree(dir, ignore_errors=True)
        build(dir, *spec, seed=500 + i)
    for i, (name, spec) in enumerate(V.items()):
        if names and name not in names:
            continue
        base, config, edits = (*spec, None)[:3]
        c = Cases(out, "peft-" + name)
        dir, base_dir = os.path.join(c.dir, "adapter"), os.path.join(roots, base)
        shutil.rmtree(dir, ignore_errors=True)
        try:
            load = lambda: AutoModelForCausalLM.from_pretrained(base_dir, dtype=torch.float64, attn_implementation="eager").eval()
            config = dict(dict(r=4, lora_alpha=8, task_type="CAUSAL_LM", lora_dropout=0.0), **config)
            torch.manual_seed(i)
            model = get_peft_model(load(), LoraConfig(**config))
            randomise(model, 600 + i)
            if edits in ("bf16", "f16"):
                for n, p in model.named_parameters():
                    if "lora_" in n:
                        p.data = p.data.to(torch.bfloat16 if edits == "bf16" else torch.float16)
            model.save_pretrained(dir, save_embedding_layers=True if edits == "embedding" else "auto")
            path = os.path.join(dir, "adapter_config.json")
            cfg = json.load(open(path))
            if isinstance(edits, dict):
                cfg.update(edits)
            if edits == "old":  # peft 0.2
                keep = ("base_model_name_or_path", "bias", "fan_in_fan_out", "inference_mode", "lora_alpha", "lora_dropout", "modules_to_save", "peft_type", "r", "target_modules", "task_type")
                cfg = {k: cfg[k] for k in keep}
                cfg.update(enable_lora=None, merge_weights=False)
            json.dump(cfg, open(path, "w"), indent=2)
            model = PeftModel.from_pretrained(load(), dir).double().eval()
            requests(c, ["--model", "@/../peft-bases/" + base, "--adapter", "@/adapter"], model, VOCAB, 700 + i)
        except Exception as e:
            print(name, "is refused by peft:", type(e).__name__, str(e)[:200])
        c.close()


main(*sys.argv[1:])
