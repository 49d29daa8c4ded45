"""Golden vectors of NF4 and of bitsandbytes' 8-bit scales from NumPy and PyTorch, written as nf4.json beside this file. Run: /usr/bin/python3 nf4.py

NF4 (QLoRA, Dettmers et al. 2023): blocks of 64, scale = absmax, nearest of 16 values of value/scale (in f32; argmin takes the first of equal
distances), two codes a byte, the first in the high half, as bitsandbytes' default backend. Values come as integers / 65536, exact in f32.
"""
import base64
import json
import os

import numpy as np
import torch

f32 = np.float32
TABLE = np.array([-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
                  -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
                  0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0], f32)


def nf4(x):
    b = np.concatenate([x, np.zeros(-len(x) % 64, f32)]).reshape(-1, 64)
    m = np.abs(b).max(1, keepdims=True)
    with np.errstate(invalid="ignore"):
        n = np.where(m > 0, b / m, f32(0)).astype(f32)
    codes = np.abs(n[..., None] - TABLE).argmin(-1).astype(np.uint8)
    y = (TABLE[codes] * m).astype(f32).reshape(-1)[: len(x)]
    flat = codes.reshape(-1)
    return (flat[0::2] << 4 | flat[1::2]).astype(np.uint8), m.reshape(-1), y


def dynamic_map():
    """bitsandbytes.functional.create_dynamic_map(signed=True, max_exponent_bits=7, total_bits=8)."""
    data = []
    for i in range(7):
        boundaries = torch.linspace(0.1, 1, 2 ** i + 1)
        means = (boundaries[:-1] + boundaries[1:]) / 2.0
        data += ((10 ** (-6 + i)) * means).tolist() + (-(10 ** (-6 + i)) * means).tolist()
    return np.array(sorted(data + [0, 1.0]), f32)


def double_quant(s):
    code = dynamic_map()
    offset = f32(s.mean(dtype=np.float64))
    c = (s - offset).astype(f32)
    b = np.concatenate([c, np.zeros(-len(c) % 256, f32)]).reshape(-1, 256)
    m = np.abs(b).max(1, keepdims=True)
    n = (b / m).astype(f32)
    codes = np.abs(n[..., None] - code).argmin(-1).astype(np.uint8)
    back = (code[codes] * m).astype(f32).reshape(-1)[: len(s)] + offset
    return codes.reshape(-1)[: len(s)], m.reshape(-1), offset, back


enc = lambda a: base64.b64encode(np.ascontiguousarray(a).tobytes()).decode()
cases = []


def add(name, x):
    x = np.asarray(x, f32)
    codes, scales, y = nf4(x)
    cases.append({"name": name, "values": enc(x), "codes": enc(codes), "scales": enc(scales), "decoded": enc(y)})


rng = np.random.default_rng(5)
add("normal", np.round(rng.standard_normal(64 * 40) * 65536) / 65536)
add("a last block that isn't full", np.round(rng.standard_normal(64 * 2 + 37) * 65536) / 65536)
add("a block of zeros", np.concatenate([np.zeros(64), rng.standard_normal(64)]))
add("tiny and large", np.concatenate([rng.standard_normal(64) * 1e-30, rng.standard_normal(64) * 1e30]))
# Around every border between codes, as near as f32 goes; the block's scale is 1.
mid = ((TABLE[1:].astype(np.float64) + TABLE[:-1]) / 2).astype(f32)
up = down = mid
near = [mid]
for _ in range(6):
    up, down = np.nextafter(up, f32(2)), np.nextafter(down, f32(-2))
    near += [up, down]
ties = np.concatenate([np.concatenate([near[k], TABLE, np.zeros(64 - 15 - 16, f32)]) for k in range(len(near))])
add("ties", ties)
# Equal f32 distances: value/scale chosen so that both neighbours are as far.
equal = [x for i in range(15) for x in np.linspace(mid[i] - 4e-8, mid[i] + 4e-8, 41).astype(f32)
         if abs(f32(x - TABLE[i])) == abs(f32(x - TABLE[i + 1]))]
equal = np.array(sorted(set(equal)), f32)
add("equal distances", np.concatenate([[1], equal, np.zeros(-(1 + len(equal)) % 64)]))

scales = np.abs(rng.standard_normal((700, 64))).max(1).astype(f32)
c, m, o, back = double_quant(scales)
big = rng.standard_normal(1024 * 1024).astype(f32)
_, s, y = nf4(big)
_, _, _, s2 = double_quant(s)
err = np.abs(big - y)
y2 = y / np.repeat(s, 64) * np.repeat(s2, 64)
out = {
    "table": [float(v) for v in TABLE],
    "cases": cases,
    "dynamicTable": enc(dynamic_map()),
    "scales": {"values": enc(scales), "codes": enc(c), "scales": enc(m), "offset": float(o), "decoded": enc(back)},
    # Over 2^20 numbers of N(0, 1): mean |x − q(x)|, mean |x − q(x)| / (|x| + 1e-8), and the first with double quantization.
    "error": float(err.mean()), "relativeError": float((err / (np.abs(big) + 1e-8)).mean()), "doubleError": float(np.abs(big - y2).mean()),
}
print({k: out[k] for k in ("error", "relativeError", "doubleError")}, len(equal))
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "nf4.json"), "w") as f:
    json.dump(out, f, separators=(",", ":"))
