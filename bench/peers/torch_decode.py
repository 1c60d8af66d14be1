"""Sampling and reading of prompts in transformers, on random weights of a shape of `hone bench decode`.

    python bench/peers/torch_decode.py --shape 15.5M --threads 2 --streams 32 --prompt 16 --new 64
"""
import common


def main():
    p = common.flags(__doc__.splitlines()[0])
    p.add_argument("--streams", type=int, default=1)
    p.add_argument("--prompt", type=int, default=16)
    p.add_argument("--new", type=int, default=64, help="1 = reading of the prompt")
    args = p.parse_args()
    common.need("transformers", ["torch", "transformers"])
    import torch
    import transformers

    torch.manual_seed(1)
    torch.set_num_threads(args.threads)
    width, layers, heads, kv, inner, vocab, _, _ = common.SHAPES[args.shape]
    config = transformers.LlamaConfig(
        vocab_size=vocab, hidden_size=width, intermediate_size=inner, num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=kv,
        max_position_embeddings=max(512, args.prompt + args.new), tie_word_embeddings=True, bos_token_id=None, eos_token_id=None, pad_token_id=0)
    model = transformers.LlamaForCausalLM(config).eval()
    if args.precision == "bf16":
        model = model.to(torch.bfloat16)

    def round_():
        ids = torch.randint(vocab, (args.streams, args.prompt))
        with torch.inference_mode():
            model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=True, top_k=0, min_new_tokens=args.new, max_new_tokens=args.new)

    seconds = common.fastest(round_, args.time)
    counted = args.prompt if args.new == 1 else args.new
    case = f"decode {args.shape} {args.precision}, {args.streams} streams, prompt {args.prompt}, new {args.new}, {args.threads} threads"
    common.report("transformers " + transformers.__version__, case, args.streams * counted / seconds)


main()
