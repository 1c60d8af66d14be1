"""GRPO steps of TRL on a model of the nano shape: 32 prompts of 16 tokens, 8 answers each of 64 new tokens, one update.

    python bench/peers/trl_grpo.py --threads 2
"""
import tempfile
import time

import common

PROBLEMS, SAMPLES, PROMPT, NEW, VOCAB = 32, 8, 16, 64, 336


def tokenizer():
    """Words w0 .. w335, cut at spaces: prompts have as many tokens as words."""
    import tokenizers
    import transformers

    words = {f"w{i}": i for i in range(VOCAB)}
    t = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="w0"))
    t.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=t, pad_token="w0", eos_token="w1", padding_side="left")


def main():
    args = common.flags(__doc__.splitlines()[0]).parse_args()
    common.need("TRL", ["torch", "transformers", "tokenizers", "datasets", "trl"])
    import random

    import datasets
    import torch
    import transformers
    import trl

    torch.manual_seed(1)
    torch.set_num_threads(args.threads)
    random.seed(1)
    config = transformers.LlamaConfig(
        vocab_size=VOCAB, hidden_size=128, intermediate_size=352, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=4,
        max_position_embeddings=512, tie_word_embeddings=True, bos_token_id=None, eos_token_id=1, pad_token_id=0)
    rows = [{"prompt": " ".join(f"w{random.randrange(2, VOCAB)}" for _ in range(PROMPT))} for _ in range(PROBLEMS * 64)]
    times = []

    class Clock(transformers.TrainerCallback):
        def on_step_end(self, *_, **__):
            times.append(time.perf_counter())

        def on_step_begin(self, _, __, control, **___):
            if len(times) > 3 and times[-1] - times[0] > args.time:
                control.should_training_stop = True

    def reward(completions, **_):
        return [0.1 * (text.count("1") % 4) for text in completions]

    with tempfile.TemporaryDirectory() as out:
        trainer = trl.GRPOTrainer(
            model=transformers.LlamaForCausalLM(config), reward_funcs=reward, processing_class=tokenizer(), train_dataset=datasets.Dataset.from_list(rows), callbacks=[Clock()],
            args=trl.GRPOConfig(
                output_dir=out, use_cpu=True, per_device_train_batch_size=PROBLEMS * SAMPLES, num_generations=SAMPLES, max_completion_length=NEW, learning_rate=1e-4,
                beta=0.0, max_steps=60, report_to=[], save_strategy="no", logging_steps=1000, disable_tqdm=True, bf16=args.precision == "bf16",
                generation_kwargs={"min_new_tokens": NEW}))
        trainer.train()
    step = min(b - a for a, b in zip(times, times[1:]))
    tokens = PROBLEMS * SAMPLES * (PROMPT + NEW)
    common.report("TRL " + trl.__version__, f"grpo nano {args.precision}, {PROBLEMS} x {SAMPLES}, prompt {PROMPT}, new {NEW}, {args.threads} threads", tokens / step, step_s=step)


main()
