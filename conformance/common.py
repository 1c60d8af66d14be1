"""Cases for the line tools, as folders of JSON lines.

A case is {"args": [...], "in": request, "out": reply, "tol": {field: absolute tolerance}}; args follow `hone tool`, and "@/" in them stands
for the folder of the file. compare.py runs them.
"""
import json
import os


class Cases:
    def __init__(self, out, name):
        self.dir = os.path.join(out, name)
        os.makedirs(self.dir, exist_ok=True)
        self.cases = []

    def add(self, args, request, reply, tol=None, note=None):
        case = {"args": args, "in": request, "out": reply}
        if tol is not None:
            case["tol"] = tol
        if note:
            case["note"] = note
        self.cases.append(case)

    def patch(self, more):
        self.cases[-1].update(more)

    def close(self):
        with open(os.path.join(self.dir, "cases.jsonl"), "w", encoding="utf-8") as f:
            for case in self.cases:
                f.write(json.dumps(case, ensure_ascii=False) + "\n")
