"""The tutorial's program on CIFAR-10 in PyTorch, one seed: pytorch_cifar10.py FOLDER SEED EPOCHS BATCH OUT.json [LIMIT]

Set as Tenon is: Glorot uniform kernels, zero biases, Adam 1e-3 with epsilon 1e-7, pixels / 255, no augmentation, a new order
every epoch, the last short batch kept. Writes {framework, seed, epochs: [...], test: {loss, accuracy}, seconds}.
"""
import json
import os
import sys
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from pytorch_models import Cnn


def load(folder: str, files: list, limit: int):
    rows = np.concatenate([np.fromfile(os.path.join(folder, f), np.uint8).reshape(-1, 3073) for f in files])[:limit]
    x = torch.from_numpy(rows[:, 1:].reshape(-1, 3, 32, 32).astype(np.float32) / 255)
    return x.contiguous(memory_format=torch.channels_last), torch.from_numpy(rows[:, 0].astype(np.int64))


def main() -> None:
    folder, seed, epochs, batch, out = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
    limit = int(sys.argv[6]) if len(sys.argv) > 6 else 50_000
    inner = os.path.join(folder, "cifar-10-batches-bin")
    folder = inner if os.path.isdir(inner) else folder
    torch.set_num_threads(int(os.environ.get("TENON_NUM_THREADS", os.cpu_count() or 1)))
    torch.manual_seed(seed)
    x, y = load(folder, [f"data_batch_{i}.bin" for i in range(1, 6)], limit)
    x_test, y_test = load(folder, ["test_batch.bin"], limit)
    model = Cnn()
    for layer in (model.c1, model.c2, model.d1, model.d2):
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)
    model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-7)
    n = len(y)
    history = []
    began = time.perf_counter()
    for epoch in range(epochs):
        start = time.perf_counter()
        order = torch.randperm(n)
        loss_sum, right = 0.0, 0
        for i in range(0, n, batch):
            rows = order[i : i + batch]
            outputs = model(x[rows])
            loss = F.cross_entropy(outputs, y[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            loss_sum += loss.item() * len(rows)
            right += (outputs.argmax(1) == y[rows]).sum().item()
        with torch.no_grad():
            outputs = torch.cat([model(part) for part in x_test.split(1000)])
            test = {
                "loss": F.cross_entropy(outputs, y_test).item(),
                "accuracy": (outputs.argmax(1) == y_test).float().mean().item(),
            }
        seconds = time.perf_counter() - start
        history.append({"loss": loss_sum / n, "accuracy": right / n, "valLoss": test["loss"], "valAccuracy": test["accuracy"], "seconds": seconds})
        print(f"pytorch seed {seed} epoch {epoch + 1}: {json.dumps(history[-1])}", file=sys.stderr, flush=True)
    result = {
        "framework": f"PyTorch {torch.__version__}",
        "seed": seed,
        "epochs": history,
        "test": test,
        "seconds": time.perf_counter() - began,
    }
    with open(out + ".part", "w") as file:
        json.dump(result, file)
    os.replace(out + ".part", out)


if __name__ == "__main__":
    main()
