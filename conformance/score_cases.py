"""Scores of reasoning-gym's own graders on altered answers.

    python conformance/score_cases.py OUT
"""
import json
import random
import sys

import reasoning_gym

from common import Cases

TASKS = {
    "chain_sum": [{}, {"min_terms": 2, "max_terms": 3, "min_digits": 1, "max_digits": 2, "allow_negation": True}],
    "countdown": [{}, {"min_numbers": 3, "max_numbers": 4}],
    "knights_knaves": [{}, {"n_people": 4}],
    "mini_sudoku": [{}],
}


def alter(rng, task, gold, others):
    yield gold
    yield None
    yield ""
    for t in (" ", "\n", "42", "x", "None", "0", gold + " ", "\n" + gold + "\n", gold.upper(), gold.lower(), gold.title(), "The answer is " + gold, gold + ".", f"\\boxed{{{gold}}}", f"<answer>{gold}</answer>", f"```\n{gold}\n```", gold * 2, gold[:-1], gold[1:],
              gold.replace(" ", ""), gold.replace(" ", "  "), gold.replace(",", ";"), gold.replace("\n", " "), gold.replace("\n", "\r\n"), gold + ".0", "+" + gold, "-" + gold, gold.replace("-", ""), gold.replace("a", "а"), gold + "\n\n", gold.replace(" is a ", " is  a "), gold.replace(" and ", " "), gold.replace(",", " and")):
        yield t
    for o in others:
        yield o
    for _ in range(12):  # a few characters changed
        t = list(gold)
        for _ in range(rng.randint(1, 3)):
            if t:
                k = rng.randrange(len(t))
                t[k] = rng.choice(["", " ", rng.choice(gold), rng.choice("0123456789+-*/()kKnv,.\n")])
        yield "".join(t)
    if task == "countdown":
        for f in ("({})", "{} + 0", "{} * 1", "1 * ({})", "{} - 0", "0 + {}", "2*({})/2", "{}=", "{} = 10", "({}", "int({})", "{}**1", "--({})", "({})//1", "({}) % 1000003", "abs({})", "{}; 1", "x={}", "{} # c", "({},)", "[{}]", "{} if 1 else 0", "{}+a", "{} and {}"):
            yield f.replace("{}", gold)
        yield gold.replace("*", "×").replace("/", "÷")
        yield gold.replace("*", "x")
        yield " + ".join(str(d) for d in range(5))
    if task == "chain_sum":
        try:
            n = int(gold)
        except ValueError:
            return
        for t in (f"{n}.00", f"{n:,}", f"{n:e}", f"{float(n)}", f"{n + 1}", f"0{n}", f"{n}e0", f"{n} .", f"= {n}", f"{n:_}", f"{n}/1", hex(n), "".join(chr(0x660 + int(c)) if c.isdigit() else c for c in str(n)), f"{n + 0.001}", f"{n * 1.0001}", "nan", "inf"):
            yield t
    if task == "knights_knaves":
        yield gold.replace("knight", "sage").replace("knave", "fool")
        yield gold.replace("knight", "#").replace("knave", "knight").replace("#", "knave")
        parts = [p.strip(" .") for p in gold.replace(", and ", ", ").replace(" and ", ", ").split(",")]
        for _ in range(4):
            rng.shuffle(parts)
            yield ", ".join(parts)
            yield " and ".join(parts) + "."
            yield "\n".join(parts)
            yield ", ".join(parts[:-1])
            yield ", ".join(parts + parts[:1])
    if task == "mini_sudoku":
        rows = [r.split() for r in gold.split("\n")]
        yield "\n".join(",".join(r) for r in rows)
        yield "\n".join("".join(r) for r in rows)
        yield " ".join(" ".join(r) for r in rows)
        yield "\n".join(" ".join(r) for r in rows[:-1])
        yield "\n".join(" ".join(r[::-1]) for r in rows)
        yield "\n".join(" ".join(r) for r in zip(*rows))
        yield "\n".join("  ".join(r) + " " for r in rows)
        yield "\n".join(" ".join("_" if rng.random() < 0.3 else x for x in r) for r in rows)


def main(out):
    for task, configs in TASKS.items():
        rng = random.Random(5)
        c = Cases(out, "score-" + task)
        for k, config in enumerate(configs):
            data = reasoning_gym.create_dataset(task, size=12, seed=100 + k, **config)
            items = [data[i] for i in range(12)]
            for i, item in enumerate(items):
                for candidate in dict.fromkeys(alter(rng, task, item["answer"], [items[(i + 1) % 12]["answer"]])):
                    request = {"task": task, "question": item["question"], "answer": item["answer"], "metadata": item["metadata"], "candidate": candidate}
                    try:
                        reply = {"score": float(data.score_answer(candidate, item))}
                    except Exception as e:
                        reply = {"error": repr(e)}
                    c.add(["score"], json.loads(json.dumps(request)), reply, tol={"*": 1e-9}, note=f"{candidate!r} for {item['answer']!r}")
        c.close()


main(*sys.argv[1:])
