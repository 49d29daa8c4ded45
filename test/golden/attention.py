"""Golden vectors of attention over intervals of keys: the result and the gradients of sum(result * probe) in double precision, by PyTorch's
softmax with a mask of -inf. Inputs are not stored: both sides make them with the same generator of numbers.
Run: /usr/bin/python3 test/golden/attention.py  (PyTorch 1.13) -> attention.json
"""
import json
import os

import torch

cases = []


def uniform(n, seed):
    """As `uniform` of test/graph/support.ts: numbers in [-2, 2)."""
    state, out = seed & 0xFFFFFFFF, []
    for _ in range(n):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        out.append(-2 + 4 * (state / 2**32))
    return out


def tensor(shape, seed, dtype):
    n = 1
    for d in shape:
        n *= d
    x = torch.tensor(uniform(n, seed), dtype=torch.float64).reshape(shape).float()
    return (x.bfloat16() if dtype == "bf16" else x).double()


def case(name, batch, queries, heads, keys, groups, dim, see, value_dim=None, scale=None, dtype="f32"):
    """see(t, b): the first key that query t of sequence b sees, and the one after the last."""
    value_dim = value_dim or dim
    q = tensor([batch, queries, heads, dim], 1, dtype).requires_grad_(True)
    k = tensor([batch, keys, groups, dim], 2, dtype).requires_grad_(True)
    v = tensor([batch, keys, groups, value_dim], 3, dtype).requires_grad_(True)
    probe = tensor([batch, queries, heads, value_dim], 4, dtype)
    intervals = [[see(t, b) for t in range(queries)] for b in range(batch)]
    j = torch.arange(keys)
    visible = torch.tensor([[[f <= int(i) < e for i in j] for f, e in row] for row in intervals])[:, None]  # [b, 1, t, s]
    spread = lambda x: x.repeat_interleave(heads // groups, 2)
    scores = torch.einsum("bthd,bshd->bhts", q, spread(k)) * (dim**-0.5 if scale is None else scale)
    weights = torch.softmax(scores.masked_fill(~visible, float("-inf")), -1)
    weights = torch.where(visible.any(-1, keepdim=True), weights, torch.zeros(()).double())
    y = torch.einsum("bhts,bshd->bthd", weights, spread(v))
    # Where nothing is visible the softmax's own gradient is NaN: those rows are constants.
    if bool(visible.any(-1).all()):
        grads = torch.autograd.grad((y * probe).sum(), [q, k, v])
    else:
        safe = torch.where(visible.any(-1, keepdim=True), visible, torch.ones(()).bool())
        w = torch.softmax(scores.masked_fill(~safe, float("-inf")), -1) * visible.any(-1, keepdim=True)
        grads = torch.autograd.grad((torch.einsum("bhts,bshd->bthd", w, spread(v)) * probe).sum(), [q, k, v])
    flat = lambda t: [float(f"{x:.6g}") for x in t.detach().reshape(-1).tolist()]
    cases.append(
        {
            "name": name,
            "shape": {"batch": batch, "queries": queries, "heads": heads, "keys": keys, "groups": groups, "dim": dim, "valueDim": value_dim},
            "dtype": dtype,
            "scale": scale,
            "intervals": intervals,
            "output": flat(y),
            "gradients": [flat(g) for g in grads],
        }
    )


def packed(t, _):
    """Documents of 9, 23, 1 and 30 tokens; the last two places are empty."""
    for start, end in [(0, 9), (9, 32), (32, 33), (33, 63)]:
        if t < end:
            return start, t + 1
    return t, t


case("causal, grouped", 1, 7, 2, 7, 1, 64, lambda t, b: (0, t + 1))
case("a sliding window", 1, 65, 1, 65, 1, 8, lambda t, b: (max(0, t - 4), t + 1))
case("packed documents, grouped", 1, 65, 2, 65, 1, 8, packed)
case("padded on the right", 2, 7, 3, 7, 1, 20, lambda t, b: (0, t + 1) if t < 7 - 3 * b else (t, t), value_dim=12)
case("decoding against caches of different lengths", 2, 1, 4, 65, 2, 8, lambda t, b: (0, 65 - 40 * b))
case("across, every key", 2, 5, 2, 9, 2, 20, lambda t, b: (0, 9), scale=0.5)
case("one query, one key", 1, 1, 1, 1, 1, 1, lambda t, b: (0, 1))
case("causal in bf16", 1, 17, 2, 17, 1, 16, lambda t, b: (0, t + 1), dtype="bf16")

with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "attention.json"), "w") as f:
    json.dump(cases, f, separators=(",", ":"))
