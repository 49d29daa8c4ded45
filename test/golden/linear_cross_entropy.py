"""Golden vectors of linearCrossEntropy from PyTorch's cross_entropy over hidden @ weight.T, in double precision: the loss a row, and the
gradients of sum(probe * loss).

Run: /usr/bin/python3 test/golden/linear_cross_entropy.py  (PyTorch 1.13) -> linear_cross_entropy.json
"""
import json
import os
import torch
import torch.nn.functional as F

torch.manual_seed(11)
torch.set_default_dtype(torch.float64)
cases = []


def rounded(t):
    # Short in the JSON, and exact in f32.
    return torch.round(t * 256) / 256


def tolist(t):
    return {"shape": list(t.shape), "data": [float(f"{v:.9g}") for v in t.detach().reshape(-1).tolist()]}


def case(name, rows, features, classes, scale=1.0, ignored=(), **options):
    hidden = rounded(torch.randn(rows, features) * scale).requires_grad_(True)
    weight = rounded(torch.randn(classes, features)).requires_grad_(True)
    labels = torch.randint(0, classes, (rows,))
    ignore = options.get("ignore_index", -100)
    for i in ignored:
        labels[i] = ignore
    probe = rounded(torch.randn(rows))
    loss = F.cross_entropy(hidden @ weight.T, labels, reduction="none", **options)
    dh, dw = torch.autograd.grad((loss * probe).sum(), [hidden, weight])
    cases.append(
        dict(
            name=name,
            ignoreIndex=ignore,
            labelSmoothing=options.get("label_smoothing", 0.0),
            hidden=tolist(hidden),
            weight=tolist(weight),
            labels=labels.tolist(),
            probe=tolist(probe),
            loss=tolist(loss),
            hiddenGradient=tolist(dh),
            weightGradient=tolist(dw),
        )
    )


case("plain", 7, 5, 11)
case("some ignored", 9, 4, 6, ignored=[0, 3, 8])
case("all ignored", 3, 4, 6, ignored=[0, 1, 2])
case("ignored by another number", 6, 3, 5, ignored=[2], ignore_index=4)
case("smoothed", 8, 6, 7, ignored=[1], label_smoothing=0.1)
case("sharp", 6, 8, 9, scale=30.0)

path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "linear_cross_entropy.json")
with open(path, "w") as f:
    json.dump(cases, f, separators=(",", ":"))
    f.write("\n")
