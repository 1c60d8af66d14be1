"""What the scripts share: the shapes of `hone bench`, the flags, and the one line of JSON that each of them prints.

A script prints {"peer", "case", "tokens_per_s"} and, for GRPO, "step_s". If a library or a program is missing it prints
{"peer", "missing": [...], "install": command} and ends with exit status 3.
"""
import argparse
import importlib.util
import json
import sys
import time

# name: width, layers, heads, key heads, inner width, vocabulary, sequences of a step, tokens of each
SHAPES = {
    "0.3M": (64, 6, 4, 4, 176, 512, 16, 64),
    "1.0M": (128, 4, 4, 4, 352, 512, 16, 64),
    "5.4M": (256, 6, 8, 8, 768, 512, 16, 256),
    "15.5M": (288, 6, 6, 6, 768, 32000, 4, 256),
    "40M": (384, 12, 6, 6, 1024, 49152, 4, 256),
    "135M": (576, 30, 9, 3, 1536, 49152, 8, 256),
}

MISSING = 3


def flags(about):
    p = argparse.ArgumentParser(description=about)
    p.add_argument("--shape", choices=SHAPES, default="5.4M")
    p.add_argument("--threads", type=int, required=True)
    p.add_argument("--time", type=float, default=2, help="seconds to measure; the fastest round counts")
    p.add_argument("--precision", choices=["f32", "bf16"], default="f32")
    return p


def need(peer, modules, programs=()):
    """Ends the script unless everything is there."""
    import shutil

    absent = [m for m in modules if importlib.util.find_spec(m) is None]
    gone = [p for p in programs if shutil.which(p) is None]
    if absent or gone:
        how = []
        if absent:
            how.append("pip install " + " ".join(absent))
        if gone:
            how.append("build llama.cpp and put " + ", ".join(gone) + " on the path")
        print(json.dumps({"peer": peer, "missing": absent + gone, "install": "; ".join(how)}))
        sys.exit(MISSING)


def fastest(round_, seconds):
    """Seconds of the fastest of the rounds that fit, two at least after a first that does not count."""
    round_()
    best, n, begin = float("inf"), 0, time.perf_counter()
    while n < 2 or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        round_()
        best = min(best, time.perf_counter() - start)
        n += 1
    return best


def report(peer, case, tokens_per_s, **more):
    print(json.dumps({"peer": peer, "case": case, "tokens_per_s": tokens_per_s, **more}), flush=True)
