"""Training steps in PyTorch: a Llama of a shape of `hone bench train`, new random tokens each step, clipping, fused AdamW.

    python bench/peers/torch_train.py --shape 5.4M --threads 2 [--compile] [--lora] [--precision bf16]
"""
import common

args = None
RANK = 16


def build(torch):
    from torch import nn
    from torch.nn import functional as F

    class Linear(nn.Module):
        def __init__(self, n, m):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(m, n) * 0.02, requires_grad=not args.lora)
            if args.lora:
                self.a = nn.Parameter(torch.randn(RANK, n) * 0.02)
                self.b = nn.Parameter(torch.zeros(m, RANK))

        def forward(self, x):
            y = F.linear(x, self.weight)
            return y + 2 * F.linear(F.linear(x, self.a), self.b) if args.lora else y

    class Norm(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(n), requires_grad=not args.lora)

        def forward(self, x):
            return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), 1e-5)

    width, layers, heads, kv, inner, vocab, docs, tokens = common.SHAPES[args.shape]
    dim = width // heads
    angle = torch.outer(torch.arange(tokens).float(), 10000.0 ** (-torch.arange(0, dim, 2).float() / dim))
    cos, sin = torch.cat([angle.cos()] * 2, 1), torch.cat([angle.sin()] * 2, 1)

    def rotate(x):
        left, right = x.chunk(2, -1)
        return x * cos.to(x.dtype) + torch.cat([-right, left], -1) * sin.to(x.dtype)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.n1, self.n2 = Norm(width), Norm(width)
            self.q, self.k, self.v, self.o = Linear(width, width), Linear(width, kv * dim), Linear(width, kv * dim), Linear(width, width)
            self.gate, self.up, self.down = Linear(width, inner), Linear(width, inner), Linear(inner, width)

        def forward(self, x):
            h, (b, t, _) = self.n1(x), x.shape
            q = rotate(self.q(h).view(b, t, heads, dim).transpose(1, 2))
            k = rotate(self.k(h).view(b, t, kv, dim).transpose(1, 2))
            v = self.v(h).view(b, t, kv, dim).transpose(1, 2)
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=kv != heads)
            x = x + self.o(y.transpose(1, 2).reshape(b, t, width))
            h = self.n2(x)
            return x + self.down(F.silu(self.gate(h)) * self.up(h))

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Parameter(torch.randn(vocab, width) * 0.02, requires_grad=not args.lora)
            self.blocks, self.norm = nn.ModuleList(Block() for _ in range(layers)), Norm(width)

        def forward(self, ids):
            x = F.embedding(ids, self.embed)
            for block in self.blocks:
                x = block(x)
            logits = F.linear(self.norm(x), self.embed)
            return F.cross_entropy(logits[:, :-1].reshape(-1, vocab).float(), ids[:, 1:].reshape(-1))

    return Model(), vocab, docs, tokens


def main():
    global args
    p = common.flags(__doc__.splitlines()[0])
    p.add_argument("--compile", action="store_true")
    p.add_argument("--lora", action="store_true")
    args = p.parse_args()
    kind = "compiled" if args.compile else "eager"
    common.need("PyTorch " + kind, ["torch"])
    import torch

    torch.manual_seed(1)
    torch.set_num_threads(args.threads)
    model, vocab, docs, tokens = build(torch)
    loss_of = torch.compile(model) if args.compile else model
    params = [q for q in model.parameters() if q.requires_grad]
    optimizer = torch.optim.AdamW(params, lr=1e-4, betas=(0.9, 0.999), weight_decay=0, fused=True)

    def step():
        ids = torch.randint(vocab, (docs, tokens))
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=args.precision == "bf16"):
            loss = loss_of(ids)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    seconds = common.fastest(step, args.time)
    case = f"train {args.shape} {'LoRA' if args.lora else 'full'} {args.precision}, {docs} x {tokens}, {args.threads} threads"
    common.report(f"PyTorch {torch.__version__} {kind}", case, docs * tokens / seconds)


main()
