"""A small GGUF file by an independent writer (struct and numpy, from ggml's docs/gguf.md), and q8_0 by the formula of ggml's
quantize_row_q8_0_ref: d = amax / 127, q = roundf(x * (1 / d)), d as f16. Run: /usr/bin/python3 test/golden/gguf.py -> gguf.json
"""
import base64
import json
import os
import struct

import numpy as np

rng = np.random.default_rng(7)
string = lambda s: struct.pack("<Q", len(s.encode())) + s.encode()
b64 = lambda b: base64.b64encode(b).decode()


def roundf(x):  # half away from zero, as C's; exact in double
    x = x.astype(np.float64)
    return (np.sign(x) * np.floor(np.abs(x) + 0.5)).astype(np.int8)


def q8_0(values):
    out = b""
    for block in values.reshape(-1, 32):
        d = np.float32(np.abs(block).max()) / np.float32(127)
        inverse = np.float32(0) if d == 0 else np.float32(1) / d
        out += np.float16(d).tobytes() + roundf(block * inverse).tobytes()
    return out


def bf16(values):
    bits = values.view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes()


encode = dict(f32=(0, lambda v: v.tobytes()), f16=(1, lambda v: v.astype("<f2").tobytes()), q8_0=(8, q8_0), bf16=(30, bf16))
kinds = dict(u8=(0, "<B"), i8=(1, "<b"), u16=(2, "<H"), i16=(3, "<h"), u32=(4, "<I"), i32=(5, "<i"), f32=(6, "<f"), bool=(7, "<B"), u64=(10, "<Q"), i64=(11, "<q"), f64=(12, "<d"))


def value(kind, v):
    if kind == "string":
        return struct.pack("<I", 8) + string(v)
    if kind == "strings":
        return struct.pack("<IIQ", 9, 8, len(v)) + b"".join(map(string, v))
    if kind.endswith("[]"):
        number, form = kinds[kind[:-2]]
        return struct.pack("<IIQ", 9, number, len(v)) + b"".join(struct.pack(form, x) for x in v)
    number, form = kinds[kind]
    return struct.pack("<I", number) + struct.pack(form, v)


metadata = [
    ("general.architecture", "string", "llama"),
    ("general.name", "string", "größer ▁🙂"),
    ("a.u8", "u8", 200), ("a.i8", "i8", -5), ("a.u16", "u16", 65000), ("a.i16", "i16", -300), ("a.u32", "u32", 4000000000),
    ("a.i32", "i32", -7), ("a.f32", "f32", 0.5), ("a.f64", "f64", 0.1), ("a.bool", "bool", 1), ("a.u64", "u64", 2**63), ("a.i64", "i64", -(2**62)),
    ("b.strings", "strings", ["", "a", "▁b"]), ("b.i32s", "i32[]", [1, -2, 3]), ("b.f32s", "f32[]", [-1000.0, 0.25]),
    ("b.bools", "bool[]", [1, 0, 1]), ("b.u8s", "u8[]", [1, 2, 3]), ("b.none", "strings", []), ("b.f64s", "f64[]", [0.1]), ("b.i64s", "i64[]", [-1]),
]
ties = np.concatenate([np.arange(-16, 16) + 0.5, [127.0] + [0.5, 1.5, 2.5, -0.5, -1.5, -2.5] * 5 + [0.0], np.zeros(32), np.full(32, 1e-36)])
tensors = [
    ("token_embd.weight", "q8_0", (rng.standard_normal((4, 64)) * 0.02)),
    ("ties.weight", "q8_0", ties.reshape(4, 32)),
    ("blk.0.attn_norm.weight", "f32", rng.standard_normal((5,))),
    ("blk.0.attn_q.weight", "f16", rng.standard_normal((3, 6))),
    ("blk.0.attn_k.weight", "bf16", rng.standard_normal((2, 3, 4))),
    ("output.weight", "f32", rng.standard_normal((1, 3))),
]
infos, data, listed = b"", b"", []
for name, kind, values in tensors:
    values = np.ascontiguousarray(values, dtype="<f4")
    number, encoder = encode[kind]
    shape = values.shape
    infos += string(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape[::-1]) + struct.pack("<IQ", number, len(data))
    raw = encoder(values)
    data += raw + b"\0" * (-len(raw) % 32)
    listed.append(dict(name=name, type=kind, shape=list(shape), values=b64(values.tobytes()), bytes=b64(raw)))
head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata)) + b"".join(string(k) + value(t, v) for k, t, v in metadata) + infos
file = head + b"\0" * (-len(head) % 32) + data
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "gguf.json"), "w") as f:
    json.dump(dict(file=b64(file), tensors=listed), f, indent=1, ensure_ascii=False)
    f.write("\n")
