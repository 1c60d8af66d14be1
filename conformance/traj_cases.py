"""Small training runs with other hyper-parameters than the published fixtures, in float64: SFT, DPO, GRPO, on whole models and on adapters.

    python conformance/traj_cases.py OUT [NAME ...]

The formulas are those of docs/tool.md's train-steps (weighted token mean, sigmoid DPO on sums, clipped GRPO with k3).
"""
import math
import os
import shutil
import sys

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from common import Cases
from model_cases import GPT2, L3, VOCAB, YARN, build, rope

ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
OPT = dict(lr=1e-3, beta1=0.9, beta2=0.95, eps=1e-8, weight_decay=0.1, clip=1.0, schedule="cosine", warmup_steps=2, total_steps=6, min_lr=0.0)
GPT = ("gpt2", {})
LLAMA = ("llama", {})

# name: (model, adapter, kind, optimizer, further fields, options)
V = {
    "sft": (LLAMA, None, "sft", {}, {}, {}),
    "sft-constant": (LLAMA, None, "sft", dict(schedule="constant", warmup_steps=0, clip=1e9), {}, {}),
    "sft-constant-warm": (LLAMA, None, "sft", dict(schedule="constant", warmup_steps=4), {}, {}),
    "sft-min-lr": (LLAMA, None, "sft", dict(min_lr=5e-4, warmup_steps=0), {}, {}),
    "sft-short-total": (LLAMA, None, "sft", dict(total_steps=6, warmup_steps=6), {}, {}),
    "sft-betas": (LLAMA, None, "sft", dict(beta1=0.5, beta2=0.999, eps=1e-4, weight_decay=0.5), {}, {}),
    "sft-no-decay": (LLAMA, None, "sft", dict(weight_decay=0.0, beta1=0.0), {}, {}),
    "sft-tight-clip": (LLAMA, None, "sft", dict(clip=0.01, eps=1e-3), {}, {}),
    "sft-micro": (LLAMA, None, "sft", {}, {}, dict(micro=True)),
    "sft-micro-uneven": (("qwen3", {}), None, "sft", {}, {}, dict(micro=[[3], [0, 1, 4], [2, 5]])),
    "sft-weights": (LLAMA, None, "sft", {}, {}, dict(weights="any")),
    "sft-weights-negative": (LLAMA, None, "sft", dict(lr=1e-4), {}, dict(weights="negative")),
    "sft-weight-first": (LLAMA, None, "sft", {}, {}, dict(weights="first")),
    "sft-bias": (("llama", dict(attention_bias=True, mlp_bias=True)), None, "sft", {}, {}, {}),
    "sft-tied": (("llama", dict(tie_word_embeddings=True)), None, "sft", {}, {}, {}),
    "sft-llama3": (("llama", rope(**L3)), None, "sft", {}, {}, {}),
    "sft-yarn": (("qwen2", rope(**YARN)), None, "sft", {}, {}, {}),
    "sft-qwen2": (("qwen2", dict(tie_word_embeddings=True)), None, "sft", {}, {}, dict(norms={"k_proj.bias": 2e-3})),
    "sft-qwen3-bias": (("qwen3", dict(attention_bias=True)), None, "sft", {}, {}, dict(norms={"k_proj.bias": 2e-3})),
    "sft-smollm3": (("smollm3", dict(no_rope_layers=[1, 0, 1])), None, "sft", {}, {}, {}),
    "sft-gelu": (("llama", dict(hidden_act="gelu")), None, "sft", {}, {}, {}),
    "sft-relu": (("llama", dict(hidden_act="relu")), None, "sft", {}, {}, {}),
    "sft-gelu-tanh": (("qwen2", dict(hidden_act="gelu_pytorch_tanh")), None, "sft", {}, {}, dict(norms={"k_proj.bias": 2e-3})),
    "sft-gpt2": (GPT, None, "sft", {}, {}, dict(norms={"c_attn.bias": 2e-2})),
    "sft-gpt2-variants": (("gpt2", dict(scale_attn_by_inverse_layer_idx=True, activation_function="gelu", n_inner=48, tie_word_embeddings=False)), None, "sft", {}, {}, dict(norms={"c_attn.bias": 2e-2})),
    "sft-gpt2-tanh": (("gpt2", dict(activation_function="tanh", scale_attn_weights=False)), None, "sft", {}, {}, dict(norms={"c_attn.bias": 2e-2})),
    "lora": (LLAMA, dict(target_modules=ALL), "sft", dict(lr=1e-2), {}, {}),
    "lora-rslora": (("qwen3", {}), dict(target_modules=ALL, use_rslora=True, r=3), "sft", dict(lr=5e-3), {}, dict(micro=True)),
    "lora-patterns": (LLAMA, dict(target_modules=["q_proj", "up_proj"], rank_pattern={"q_proj": 2}, alpha_pattern={"up_proj": 3}), "sft", dict(lr=5e-3), {}, {}),
    "lora-gpt2": (GPT, dict(target_modules=["c_attn", "c_proj", "c_fc"], fan_in_fan_out=True), "sft", dict(lr=5e-3), {}, {}),
    "lora-save-head": (LLAMA, dict(target_modules=["q_proj"], modules_to_save=["lm_head"]), "sft", {}, {}, {}),
    "lora-save-embed": (("llama", dict(tie_word_embeddings=True)), dict(target_modules=["q_proj"], modules_to_save=["embed_tokens"]), "sft", {}, {}, {}),
    "lora-save-norm": (("qwen3", {}), dict(target_modules=["q_proj"], modules_to_save=["norm", "k_norm"]), "sft", {}, {}, {}),
    "lora-bias": (("llama", dict(attention_bias=True, mlp_bias=True)), dict(target_modules=["q_proj"], bias="all"), "sft", {}, {}, dict(norms={"k_proj.bias": 2e-3})),
    "lora-dropout-off": (LLAMA, dict(target_modules=["q_proj"], lora_dropout=0.1), "sft", {}, {}, {}),
    "lora-dpo": (LLAMA, dict(target_modules=ALL), "dpo", dict(lr=2e-3), dict(beta=0.2), {}),
    "lora-grpo": (LLAMA, dict(target_modules=ALL), "grpo", dict(lr=2e-3), dict(beta=0.1, clip_range=0.2, advantage_eps=1e-4, updates_per_batch=2), {}),
    "dpo": (LLAMA, None, "dpo", dict(lr=3e-4), dict(beta=0.5), {}),
    "dpo-weights": (LLAMA, None, "dpo", dict(lr=3e-4, schedule="constant", warmup_steps=0), dict(beta=0.05), dict(weights="any")),
    "dpo-gpt2": (GPT, None, "dpo", dict(lr=3e-4), dict(beta=0.1), dict(norms={"c_attn.bias": 2e-2})),
    "grpo": (LLAMA, None, "grpo", dict(lr=2e-4, weight_decay=0.0), dict(beta=0.04, clip_range=0.2, advantage_eps=1e-4, updates_per_batch=2), {}),
    "grpo-no-kl": (LLAMA, None, "grpo", dict(lr=1e-3), dict(beta=0.0, clip_range=0.1, advantage_eps=1e-6, updates_per_batch=3), {}),
    "grpo-kl": (("qwen3", {}), None, "grpo", dict(lr=5e-4), dict(beta=1.0, clip_range=0.05, advantage_eps=0.1), {}),
    "grpo-weights": (LLAMA, None, "grpo", dict(lr=5e-4), dict(beta=0.1, clip_range=0.2, advantage_eps=1e-4, updates_per_batch=4), dict(weights="any")),
    "grpo-equal-rewards": (LLAMA, None, "grpo", dict(lr=5e-4), dict(beta=0.1, clip_range=0.2, advantage_eps=1e-4, updates_per_batch=2), dict(rewards=[1, 1, 1, 1, 0, 1, 0, 0.5])),
    "grpo-far": (LLAMA, None, "grpo", dict(lr=5e-4), dict(beta=0.01, clip_range=0.3, advantage_eps=1e-4, updates_per_batch=2), dict(shift=0.8)),
}


def logps(model, tokens):
    t = torch.tensor([tokens])
    lp = torch.log_softmax(model(t).logits[0, :-1].double(), -1)
    return lp.gather(1, t[0, 1:, None])[:, 0]


class Maker:
    def __init__(self, seed, options):
        self.g = torch.Generator().manual_seed(seed)
        self.o = options

    def n(self, lo, hi):
        return int(torch.randint(lo, hi + 1, (1,), generator=self.g))

    def sequence(self, lo=4, hi=24):
        n = self.n(lo, hi)
        tokens = torch.randint(0, VOCAB, (n,), generator=self.g).tolist()
        prompt = self.n(1, n - 2)
        w = [0.0] * prompt + [1.0] * (n - prompt)
        kind = self.o.get("weights")
        if kind == "any":
            w = [0.0] * prompt + [round(float(x), 3) for x in torch.rand(n - prompt, generator=self.g) * 2]
        if kind == "negative":
            w = [0.0] * prompt + [1.0 if self.n(0, 3) else -0.5 for _ in range(n - prompt)]
        if kind == "first":
            w = [1.0] * n
        return {"tokens": tokens, "weights": w}


def request(maker, kind, model, opt, fields, options, updates):
    steps = []
    for _ in range(opt["total_steps"] // updates):
        if kind == "sft":
            step = {"sequences": [maker.sequence() for _ in range(6)]}
            if options.get("micro"):
                step["micro_batches"] = options["micro"] if isinstance(options["micro"], list) else [[0, 1], [2], [3, 4, 5]]
        elif kind == "dpo":
            step = {"pairs": [{"chosen": maker.sequence(), "rejected": maker.sequence()} for _ in range(3)]}
        else:
            seqs = []
            for k in range(8):
                s = maker.sequence()
                with torch.no_grad():
                    lp = logps(model, s["tokens"])
                noise = options.get("shift", 0.05) * torch.randn(len(lp), generator=maker.g, dtype=torch.float64)
                s["sampled"] = [None] + [round(float(x), 6) if w else None for x, w in zip(lp + noise, s["weights"][1:])]
                s["reward"] = float(options["rewards"][k]) if "rewards" in options else round(float(torch.rand(1, generator=maker.g)), 2)
                s["group"] = k // 4
                seqs.append(s)
            step = {"sequences": seqs}
        steps.append(step)
    probes = [maker.sequence()["tokens"] for _ in range(3)]
    return {"kind": kind, "optimizer": opt, "steps": steps, "probes": probes, **fields}


def sft_loss(model, step):
    total = sum(sum(s["weights"][1:]) for s in step["sequences"])
    loss = sum(-(torch.tensor(s["weights"][1:], dtype=torch.float64) * logps(model, s["tokens"])).sum() for s in step["sequences"]) / total
    return loss, {}


def weighted(model, s):
    return (torch.tensor(s["weights"][1:], dtype=torch.float64) * logps(model, s["tokens"])).sum()


def dpo_loss(model, step, beta, reference):
    losses, rc, rr, acc = [], [], [], []
    for p, (c0, r0) in zip(step["pairs"], reference):
        c, r = weighted(model, p["chosen"]), weighted(model, p["rejected"])
        losses.append(-torch.nn.functional.logsigmoid(beta * ((c - r) - (c0 - r0))))
        rc.append(float(beta * (c - c0)))
        rr.append(float(beta * (r - r0)))
        acc.append(float(rc[-1] > rr[-1]))
    mean = lambda x: sum(x) / len(x)
    return sum(losses) / len(losses), {"reward_chosen": mean(rc), "reward_rejected": mean(rr), "accuracy": mean(acc), "reference": reference}


def grpo_loss(model, step, f, refs, first):
    seqs = step["sequences"]
    groups = {}
    for s in seqs:
        groups.setdefault(s["group"], []).append(s["reward"])
    adv = []
    for s in seqs:
        r = torch.tensor(groups[s["group"]], dtype=torch.float64)
        adv.append(float((s["reward"] - r.mean()) / (r.std() + f["advantage_eps"])))
    loss = kl = rho_sum = clipped = total = 0.0
    for s, a, ref in zip(seqs, adv, refs):
        w = torch.tensor(s["weights"][1:], dtype=torch.float64)
        lp = logps(model, s["tokens"])
        old = torch.tensor([x if x is not None else 0.0 for x in s["sampled"][1:]], dtype=torch.float64)
        rho = torch.where(w != 0, torch.exp(lp - old), torch.ones_like(lp))
        k = torch.exp(ref - lp) - (ref - lp) - 1
        lo, hi = 1 - f["clip_range"], 1 + f["clip_range"]
        term = -torch.minimum(rho * a, rho.clamp(lo, hi) * a) + f["beta"] * k
        loss = loss + (w * term).sum()
        kl += float((w * k).sum())
        rho_sum += float((w * rho).sum())
        clipped += float((w * (((rho < lo) & (a < 0)) | ((rho > hi) & (a > 0)))).sum())
        total += float(w.sum())
    row = {"kl": kl / total, "ratio_mean": rho_sum / total, "clip_fraction": clipped / total}
    if first:
        row["advantages"] = adv
    return loss / total, row


def run(model, req, trained):
    """trained: [(name, parameter)] in the file's names."""
    o, kind = req["optimizer"], req["kind"]
    decay = [p for _, p in trained if p.dim() >= 2]
    plain = [p for _, p in trained if p.dim() < 2]
    adam = torch.optim.AdamW([{"params": decay, "weight_decay": o["weight_decay"]}, {"params": plain, "weight_decay": 0.0}], lr=o["lr"], betas=(o["beta1"], o["beta2"]), eps=o["eps"])
    with torch.no_grad():
        if kind == "dpo":
            refs = [[(float(weighted(model, p["chosen"])), float(weighted(model, p["rejected"]))) for p in st["pairs"]] for st in req["steps"]]
        if kind == "grpo":
            refs = [[logps(model, s["tokens"]) for s in st["sequences"]] for st in req["steps"]]
    rows, s = [], 0
    for i, step in enumerate(req["steps"]):
        for u in range(req.get("updates_per_batch", 1)):
            adam.zero_grad()
            if kind == "sft":
                loss, row = sft_loss(model, step)
            elif kind == "dpo":
                loss, row = dpo_loss(model, step, req["beta"], refs[i])
            else:
                loss, row = grpo_loss(model, step, req, refs[i], u == 0)
            loss.backward()
            g = math.sqrt(sum(float((p.grad**2).sum()) for _, p in trained if p.grad is not None))
            for _, p in trained:
                if p.grad is not None:
                    p.grad *= min(1.0, o["clip"] / (g + 1e-6))
            w, t = o["warmup_steps"], o["total_steps"]
            lr = o["lr"] * (s + 1) / w if s < w else o["lr"] if o["schedule"] == "constant" else o["min_lr"] + (o["lr"] - o["min_lr"]) * (1 + math.cos(math.pi * (s - w) / (t - w))) / 2
            for group in adam.param_groups:
                group["lr"] = lr
            adam.step()
            rows.append({"loss": float(loss), "grad_norm": g, "lr": lr, **row})
            s += 1
    with torch.no_grad():
        probes = [{"logprobs": [None] + logps(model, p).tolist()} for p in req["probes"]]
    return {"steps": rows, "probes": probes, "param_norms": {n: float(p.norm()) for n, p in trained}}


def randomise_adapter(model, seed):
    g = torch.Generator().manual_seed(seed)
    for name, p in model.named_parameters():
        if p.requires_grad:
            z = torch.randn(p.shape, generator=g, dtype=torch.float64)
            p.data.copy_(0.2 * z if "lora_" in name else p.data + 0.1 * z)


def main(out, *names):
    for i, (name, (spec, lora, kind, opt, fields, options)) in enumerate(V.items()):
        if names and name not in names:
            continue
        c = Cases(out, "traj-" + name)
        model_dir, adapter = os.path.join(c.dir, "model"), os.path.join(c.dir, "adapter")
        for d in (model_dir, adapter):
            shutil.rmtree(d, ignore_errors=True)
        build(model_dir, *spec, seed=800 + i)
        load = lambda: AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float64, attn_implementation="eager").eval()
        model, args = load(), ["--model", "@/model"]
        trained = list(model.named_parameters())
        if lora:
            made = get_peft_model(load(), LoraConfig(**{**dict(r=4, lora_alpha=8, task_type="CAUSAL_LM"), **lora}))
            randomise_adapter(made, 900 + i)
            made.save_pretrained(adapter)
            model, args = PeftModel.from_pretrained(load(), adapter, is_trainable=True).double().eval(), args + ["--adapter", "@/adapter"]
            strip = lambda n: n.replace(".default", "").replace("modules_to_save.", "").replace(".base_layer.bias", ".bias")
            from safetensors import safe_open
            stored = set(safe_open(os.path.join(adapter, "adapter_model.safetensors"), "pt").keys())
            trained = [(strip(n), p) for n, p in model.named_parameters() if p.requires_grad]
            trained = [(n if n in stored else n.replace(".bias", ".base_layer.bias"), p) for n, p in trained]
            assert {n for n, _ in trained} == stored, ({n for n, _ in trained} ^ stored)
        o = {**OPT, **opt}
        req = request(Maker(1000 + i, options), kind, model, o, fields, options, fields.get("updates_per_batch", 1))
        req["decayed"] = sorted(n for n, p in trained if p.dim() >= 2)
        reply = run(model, req, trained)
        tol = {"*": 2e-3, "loss": 2e-4, "grad_norm": {"rel": 5e-4}, "lr": {"rel": 1e-5}, "logprobs": 5e-3}
        for n, _ in trained:
            loose = [t for suffix, t in options.get("norms", {}).items() if n.endswith(suffix)]
            tol[n] = {"rel": loose[0] if loose else 5e-5}
        c.add(["train-steps", *args], req, reply, tol)
        c.close()


main(*sys.argv[1:])
