"""Damaged safetensors files, with the verdict of the reference reader.

    python conformance/safetensors_cases.py OUT
"""
import base64
import json
import random
import struct
import sys

import safetensors

from common import Cases

DTYPES = ["BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "I16", "U16", "F16", "BF16", "I32", "U32", "F32", "F64", "I64", "U64", "F4", "C64", "f32", "F7", "", 5, None]
BITS = {"BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "F64": 64, "I64": 64, "U64": 64}


def build(rng):
    """A file that is right but for what the dice say."""
    header, at = {}, 0
    if rng.random() < 0.3:
        header["__metadata__"] = rng.choice([{"format": "pt"}, {}, {"a": 1}, None, [], "x", {"a": None}, {"a": "b", "é": "\u2028"}])
    for i in range(rng.randint(0, 4)):
        dtype = rng.choice(list(BITS)) if rng.random() < 0.93 else rng.choice(DTYPES)
        shape = [rng.choice([0, 1, 2, 3, 5]) for _ in range(rng.randint(0, 3))]
        n = 1
        for d in shape:
            n *= d
        size = n * BITS.get(dtype, 8) // 8 if isinstance(dtype, str) else n
        begin, end = at, at + size
        if rng.random() < 0.06:
            shape = rng.choice([[-1], [1.0], ["2"], None, [2**63], [2**32, 2**32], {}, [[1]], [True], [2**64]])
        if rng.random() < 0.06:
            begin += rng.choice([-1, 1, 8])
        if rng.random() < 0.06:
            end += rng.choice([-1, 1, 8])
        offsets = [begin, end]
        if rng.random() < 0.03:
            offsets = rng.choice([[begin], [begin, end, end], [end, begin], None, "0", [float(begin), end], {"a": 1}])
        t = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        if rng.random() < 0.03:
            t.pop(rng.choice(list(t)))
        if rng.random() < 0.03:
            t["extra"] = 1
        header[rng.choice(["a", "b", "c.d", "", "é", "x" * 50]) if rng.random() < 0.2 else f"t{i}"] = t
        at += size
    if rng.random() < 0.1:
        items = list(header.items())
        rng.shuffle(items)
        header = dict(items)
    text = json.dumps(header, ensure_ascii=rng.random() < 0.5).encode()
    dice = rng.random()
    if dice < 0.1:
        text += b" " * rng.randint(1, 9)
    elif dice < 0.13:
        text = b" " + text
    elif dice < 0.16:
        text += rng.choice([b"x", b"\x00", b"{}", b"\n", b"\t"])
    elif dice < 0.18:
        text = rng.choice([b"[]", b"", b"{", b"null", b"{}", b'{"a"}', b"\xff{}", b'{"a":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}}'])
    elif dice < 0.2 and text:
        k = rng.randrange(len(text))
        text = text[:k] + bytes([rng.randrange(256)]) + text[k + 1:]
    n = len(text)
    if rng.random() < 0.04:
        n += rng.choice([-1, 1, 8, 2**40, 2**63])
    data = bytes(rng.randrange(256) for _ in range(at))
    if rng.random() < 0.05:
        data = data + b"\0" * rng.randint(1, 9) if rng.random() < 0.5 else data[: rng.randint(0, len(data))]
    whole = struct.pack("<Q", max(n, 0) % 2**64) + text + data
    return whole[: rng.randint(0, 12)] if rng.random() < 0.02 else whole


def main(out):
    rng = random.Random(11)
    c = Cases(out, "safetensors")
    for _ in range(6000):
        raw = build(rng)
        try:
            tensors = safetensors.deserialize(raw)
            reply = {"ok": True}
        except BaseException as e:
            reply = {"ok": False}
            note = str(e)
        else:
            note = f"{len(tensors)} tensors"
        c.add(["inspect"], {"base64": base64.b64encode(raw).decode()}, reply, note=note[:80] + " " + raw[8:200].decode("latin1"))
    c.close()


main(*sys.argv[1:])
