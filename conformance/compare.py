"""Runs the cases below the folders given through the binary and reports replies that differ.

    python conformance/compare.py --hone ./hone OUT [OUT ...]

Every case counts as equal, refused (an error or the name of something not built) or WRONG. A number may differ by its tolerance; "rel"
tolerances are relative. Exit status 1 when anything is wrong.
"""
import argparse
import collections
import json
import math
import os
import subprocess
import sys


def differs(got, want, tol, field=""):
    """Says where two values differ, or returns None."""
    if isinstance(want, dict):
        if not isinstance(got, dict):
            return f"{field}: got {got!r:.80}"
        for k in want:
            if k not in got:
                return f"{field}.{k} is missing"
            d = differs(got[k], want[k], tol, k if k in tol or not field else field)
            if d:
                return d if k in d else f"{k}: {d}"
        return None
    if isinstance(want, list):
        if not isinstance(got, list) or len(got) != len(want):
            return f"{field}: got {str(got)[:200]}, want {str(want)[:200]}"
        for i, (g, w) in enumerate(zip(got, want)):
            d = differs(g, w, tol, field)
            if d:
                return f"[{i}] {d}"
        return None
    if isinstance(want, float) and isinstance(got, (int, float)) and not isinstance(got, bool):
        t = tol.get(field, tol.get("*", 0))
        limit = t["rel"] * abs(want) if isinstance(t, dict) else t
        if not abs(got - want) <= limit or math.isnan(got):
            return f"{field}: got {got!r}, want {want!r}"
        return None
    if want is None and got == 0 and tol:
        return None
    return None if got == want else f"{field}: got {got!r}, want {want!r}"


def greedy(got, case):
    """Greedy continuations count up to the first step whose gap is too small to tell."""
    tokens, want = got.get("tokens"), case["out"]["tokens"]
    for k, (gap, w) in enumerate(zip(case["gaps"], want)):
        if gap < 2e-3:
            return None
        if tokens is None or k >= len(tokens) or tokens[k] != w:
            return f"step {k}: got {tokens}, want {want}"
    return None


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--hone", default="hone")
    ap.add_argument("--show", type=int, default=3, help="differences to print for each call")
    ap.add_argument("folders", nargs="+")
    a = ap.parse_args()
    files = []
    for top in a.folders:
        for dir, _, names in os.walk(top):
            files += [os.path.join(dir, n) for n in names if n == "cases.jsonl"]
    total = collections.Counter()
    for path in sorted(files):
        groups = collections.OrderedDict()
        for line in open(path, encoding="utf-8"):
            case = json.loads(line)
            groups.setdefault(tuple(case["args"]), []).append(case)
        here, notes = collections.Counter(), []
        for args, cases in groups.items():
            cmd = [a.hone, "tool"] + [x.replace("@/", os.path.dirname(path) + "/") for x in args]
            run = subprocess.run(cmd, input="".join(json.dumps(c["in"]) + "\n" for c in cases), capture_output=True, text=True)
            lines = run.stdout.split("\n")[:-1]
            if run.returncode == 2 and not lines:  # a model that cannot be read
                here["refused"] += len(cases)
                notes.append(f"    refused {' '.join(args)}: {run.stderr.strip()[:300]}")
                if "goroutine" in run.stderr:
                    here["WRONG"] += 1
                continue
            if len(lines) != len(cases) or run.returncode:
                here["WRONG"] += len(cases)
                notes.append(f"    {' '.join(args)}: {len(lines)} replies to {len(cases)} lines, status {run.returncode}: {run.stderr[:500]}")
                continue
            shown = refused = 0
            for case, line in zip(cases, lines):
                got = json.loads(line)
                said = got.get("error") or got.get("unsupported")
                if said and not case["out"].get("error") and "ok" not in case["out"]:
                    here["refused"] += 1
                    refused += 1
                    if refused == 1:
                        notes.append(f"    refused {case.get('note', '')} {json.dumps(case['in'])[:160]}: {said[:200]}")
                    continue
                if case["out"].get("error"):
                    d = None if got.get("error") else f"got {line[:200]}, want an error: {case['out']['error'][:120]}"
                elif "gaps" in case:
                    d = greedy(got, case)
                else:
                    d = differs(got, case["out"], case.get("tol", {}))
                here["WRONG" if d else "equal"] += 1
                if d and shown < a.show:
                    shown += 1
                    notes.append(f"    WRONG {' '.join(args)} {case.get('note', '')} {json.dumps(case['in'])[:300]}\n          {d[:700]}")
        print(f"{os.path.relpath(os.path.dirname(path)):50} {dict(here)}")
        print("\n".join(notes), end="\n" if notes else "")
        total.update(here)
    print("total", dict(total))
    sys.exit(1 if total["WRONG"] else 0)


main()
