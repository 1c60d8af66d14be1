"""Writes cmd/hone/testdata/trl_dpo.json and trl_kto.json: combinations of settings with the loss and gradient of TRL's own source.

    pip download trl==1.9.2 --no-deps && unzip trl-1.9.2-*.whl -d TRL && pip install numpy
    python conformance/trl_losses.py TRL cmd/hone/testdata

TRL's _compute_loss is read from its files and run on the class Tensor below, numpy's complex numbers with the few methods of PyTorch that it
calls. The imaginary part carries the derivative (complex step), and is dropped under no_grad, which is what detaching means.
"""

import ast
import json
import math
import random
import sys
import textwrap
from types import SimpleNamespace as Space

import numpy as np


class no_grad:
    depth = 0

    def __init__(self, *args):
        pass

    def __enter__(self):
        no_grad.depth += 1

    def __exit__(self, *args):
        no_grad.depth -= 1


class Tensor:
    dtype, device = "float32", None  # the dtype is read where exponents are cut

    def __init__(self, a):
        self.a = np.asarray(a)

    def __getitem__(self, i):
        return Tensor(self.a[tuple(raw(x) for x in i) if isinstance(i, tuple) else raw(i)])

    def __setitem__(self, i, v):
        self.a[raw(i)] = v

    def __len__(self):
        return len(self.a)

    shape = property(lambda self: self.a.shape)
    size = lambda self, i: self.a.shape[i]
    sum = lambda self, dim=None: Tensor(self.a.sum(axis=dim))
    mean = nanmean = lambda self: Tensor(self.a.mean())
    cumsum = lambda self, dim: Tensor(self.a.cumsum(axis=dim))
    chunk = lambda self, n, dim=0: [Tensor(x.copy()) for x in np.split(self.a, n, axis=dim)]
    clamp = lambda self, min=-np.inf, max=np.inf: Tensor(np.where(self.a.real < min, min, np.where(self.a.real > max, max, self.a)))
    clamp_min = lambda self, m: self.clamp(min=m)
    bool = lambda self: Tensor(self.a.astype(np.bool_))
    long = float = lambda self: self
    to = lambda self, *args: self
    detach = lambda self: Tensor(self.a.real)
    unsqueeze = lambda self, dim: Tensor(np.expand_dims(self.a, dim))
    view = lambda self, *shape: Tensor(self.a.reshape(shape))
    expand = lambda self, n: Tensor(np.full(n, self.a))
    index_select = lambda self, dim, i: Tensor(np.take(self.a, i.a.astype(int), axis=dim))


def raw(x):
    return x.a if isinstance(x, Tensor) else x


def arithmetic(f):
    def op(x, y=None):
        a = f(raw(x), raw(y))
        return Tensor(a.real if no_grad.depth else a)

    return op


for name, f in {
    "add": lambda x, y: x + y, "radd": lambda x, y: y + x, "sub": lambda x, y: x - y, "rsub": lambda x, y: y - x, "mul": lambda x, y: x * y,
    "rmul": lambda x, y: y * x, "truediv": lambda x, y: x / y, "pow": lambda x, y: x**y, "neg": lambda x, y: -x, "invert": lambda x, y: ~x,
    "eq": lambda x, y: x == y, "gt": lambda x, y: np.real(x) > np.real(y), "le": lambda x, y: np.real(x) <= np.real(y), "and": lambda x, y: x & y,
}.items():
    setattr(Tensor, f"__{name}__", arithmetic(f))


def logsumexp(t, dim=-1):
    top = t.a.real.max(-1, keepdims=True)
    return Tensor(np.log(np.exp(t.a - top).sum(-1)) + top[..., 0])


def pick(logits, ids):
    return Tensor(np.take_along_axis(logits.a, ids.a[..., None], -1)[..., 0] - logsumexp(logits).a)


def sort(t, dim=0):
    order = np.argsort(t.a.real, kind="stable")
    return Tensor(t.a[order]), Tensor(order)


def sigmoid(t):
    return Tensor(1 / (1 + np.exp(-t.a)))


torch = Space(
    Tensor=Tensor, no_grad=no_grad, float16="float16", bfloat16="bfloat16", float32="float32", bool=bool, sigmoid=sigmoid, sort=sort, logsumexp=logsumexp,
    exp=lambda t: Tensor(np.exp(t.a)), log=lambda t: Tensor(np.log(t.a)), log1p=lambda t: Tensor(np.log1p(t.a)),
    relu=lambda t: Tensor(np.where(t.a.real > 0, t.a, 0)), clamp=lambda t, max: t.clamp(max=max), minimum=lambda x, y: Tensor(np.minimum(x.a, y.a)),
    cat=lambda xs, dim=0: Tensor(np.concatenate([x.a for x in xs], dim)), tensor=lambda x, device=None: Tensor(np.float32(x)),
    zeros=lambda n: Tensor(np.zeros(n)), nonzero=lambda t, as_tuple: Tensor(np.argwhere(t.a)), as_tensor=lambda t, dtype, device: t.bool(),
)
functional = Space(
    sigmoid=sigmoid, logsigmoid=lambda t: Tensor(-np.log1p(np.exp(-t.a))), cross_entropy=lambda logits, ids: Tensor(-pick(logits, ids).a.mean())
)


def method(path, owner, until, result):
    """The source of owner._compute_loss up to the metrics."""
    source = open(path).read()
    cls = next(c for c in ast.parse(source).body if isinstance(c, ast.ClassDef) and c.name == owner)
    f = next(f for f in cls.body if isinstance(f, ast.FunctionDef) and f.name == "_compute_loss")
    text = " " * 4 + ast.get_source_segment(source, f)
    scope = dict(torch=torch, F=functional, math=math, selective_log_softmax=pick, is_peft_model=lambda m: False, disable_gradient_checkpointing=no_grad)
    exec(textwrap.dedent(text[: text.index(until)] + result), scope)
    return scope["_compute_loss"]


class Model:
    training = True

    def __init__(self, logits):
        self.logits = np.array(logits)

    def __call__(self, **kwargs):
        return Space(logits=Tensor(self.logits.copy()))


def loss(compute, given, config, logits):
    same = lambda x: x
    me = dict(beta=0.1, label_smoothing=0.0, ld_alpha=None, f_divergence_type="reverse_kl", f_alpha_divergence_coef=0.5, use_weighting=False)
    me |= dict(desirable_weight=1.0, undesirable_weight=1.0, calculate_KL=config.get("loss_type") == "kto")
    me |= dict(loss_weights=[1.0] * len(config.get("loss_types", []))) | config
    args = Space(discopop_tau=config.get("discopop_tau", 0.05), gradient_checkpointing_kwargs=None)
    ref = Model(given["ref_logits"])
    me = Space(**me, args=args, model=Model(logits), ref_model=ref, aux_loss_enabled=False, precompute_ref_logps=False)
    me.accelerator = Space(device=None, gather_for_metrics=same, gather=same)
    me._compute_kl_logps = lambda m, batch: Tensor(given["ref_KL_logps" if m is ref else "KL_logps"]) if me.calculate_KL else None
    batch = {k: Tensor(given[k]) for k in ("input_ids", "attention_mask", "completion_mask", "label") if k in given}
    return complex(compute(me, me.model, batch, False).a)


def case(compute, inputs, at, config):
    given, step = inputs[at], 1e-30
    logits = np.array(given["logits"], complex)
    grad = np.zeros(logits.shape)
    for i in np.ndindex(logits.shape):
        moved = logits.copy()
        moved[i] += step * 1j
        grad[i] = loss(compute, given, config, moved).imag / step
    short = lambda x: float(f"{x:.10g}") + 0.0
    return dict(input=at, config=config, loss=short(loss(compute, given, config, logits).real), grad_logits=[[[short(g) for g in p] for p in r] for r in grad])


def batch(rnd, rows, tokens=5, vocab=3):
    b = dict(input_ids=[], attention_mask=[], completion_mask=[], logits=[], ref_logits=[])
    for _ in range(rows):
        end = rnd.randint(2, tokens)
        begin = rnd.randint(1, end - 1)
        b["input_ids"].append([rnd.randrange(vocab) for _ in range(tokens)])
        b["attention_mask"].append([int(t < end) for t in range(tokens)])
        b["completion_mask"].append([int(begin <= t < end) for t in range(tokens)])
        logits = [[round(rnd.gauss(0, 1.5), 3) for _ in range(vocab)] for _ in range(tokens)]
        b["logits"].append(logits)
        b["ref_logits"].append([[round(z + rnd.gauss(0, 0.7), 3) for z in p] for p in logits])
    return b


LOSSES = "sigmoid hinge ipo exo_pair nca_pair robust bco_pair sppo_hard aot aot_unpaired apo_zero apo_down discopop sft sigmoid_norm".split()
DIVERGENCES = ["forward_kl", "js_divergence", "alpha_divergence"]


def dpo_config(rnd, k):
    """Every loss leads four times; what is added to it is drawn."""
    names = [LOSSES[k % len(LOSSES)]] + rnd.sample(LOSSES, rnd.choice([0, 0, 1, 2]))
    c = dict(loss_types=names, beta=rnd.choice([0.05, 0.1, 0.3, 1.0]))
    if len(names) > 1:
        c["loss_weights"] = [round(rnd.uniform(-0.5, 2), 2) for _ in names]
    if "exo_pair" in names or rnd.random() < 0.5:
        c["label_smoothing"] = rnd.choice([0.001, 0.1, 0.3])
    if rnd.random() < 0.7:
        c["f_divergence_type"] = rnd.choice(DIVERGENCES)
        if c["f_divergence_type"] == "alpha_divergence":
            c["f_alpha_divergence_coef"] = rnd.choice([0.0, 0.3, 1.0, 1.5])
    if rnd.random() < 0.5:
        c["ld_alpha"] = rnd.choice([0.0, 0.25, 1.0])
    if rnd.random() < 0.5:
        c["use_weighting"] = True
    if "discopop" in names:
        c["discopop_tau"] = rnd.choice([0.05, 0.2, 1.0])
    return c


def write(path, inputs, cases):
    with open(path, "w") as f:
        f.write('{"inputs": [\n' + ",\n".join(json.dumps(i) for i in inputs) + '\n], "cases": [\n' + ",\n".join(json.dumps(c) for c in cases) + "\n]}\n")


def main(trl, out):
    rnd = random.Random(1)
    compute = method(f"{trl}/trl/trainer/dpo_trainer.py", "DPOTrainer", "# Log the metrics", "return loss")
    inputs = [batch(rnd, 2 * pairs) for pairs in (1, 2, 3)]
    write(f"{out}/trl_dpo.json", inputs, [case(compute, inputs, k % 3, dpo_config(rnd, k)) for k in range(4 * len(LOSSES))])
    compute = method(f"{trl}/trl/trainer/kto_trainer.py", "KTOTrainer", 'self._metrics[mode]["kl"]', "return losses.nanmean()")
    inputs = [batch(rnd, rows) for rows in (1, 2, 4)]
    for b in inputs:
        b["label"] = [rnd.random() < 0.5 for _ in b["input_ids"]]
        b["KL_logps"] = [round(rnd.gauss(-5, 2), 3) for _ in b["input_ids"]]
        b["ref_KL_logps"] = [round(x + rnd.gauss(-0.2, 0.5), 3) for x in b["KL_logps"]]
    configs = [dict(loss_type=l, beta=b, desirable_weight=0.8, undesirable_weight=1.33) for l in ("kto", "apo_zero_unpaired") for b in (0.1, 2.0)]
    write(f"{out}/trl_kto.json", inputs, [case(compute, inputs, i, c) for i in range(3) for c in configs])


main(*sys.argv[1:])
