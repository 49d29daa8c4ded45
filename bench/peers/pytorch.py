"""PyTorch as a contender: a process that reads one JSON request a line and answers with one JSON line.

{"do": "hello"} · {"do": "prepare", "id", "workload", "batch", "threads", "layout", "mkldnn", "mode", "foreach"}
{"do": "run", "id", "steps"} → seconds of the steps · {"do": "losses", "id", "weights", "shapes", "x", "y", "steps"}
{"do": "product", "size", "threads"} → GFLOP/s · {"do": "drop", "id"}
{"do": "prepare-conv", "id", "product", "threads", "layout", "mkldnn"} → samples of the result; then "run" as above
"""
import base64
import gc
import json
import resource
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

import pytorch_models as models
from pytorch_conv import ConvProduct

# Batches to walk through, as a training run does: no step finds its data in the first-level cache.
BATCHES = {"cnn": 100, "mlp": 50, "gpt": 50, "resnet20": 50, "textcnn": 50}
# What the other side's bytes of a batch are.
RAW = {"cnn": np.uint8, "mlp": np.float32, "gpt": np.int32, "resnet20": np.float32, "textcnn": np.int32}


class Contender:
    def __init__(self, request: dict):
        self.name = request["workload"]
        self.batch = request["batch"]
        self.threads = request["threads"]
        self.mkldnn = request.get("mkldnn", True)
        self.layout = request.get("layout", "nchw")
        torch.manual_seed(1)
        kinds = {"cnn": models.Cnn, "mlp": models.Mlp, "gpt": models.Gpt, "resnet20": models.Resnet20}
        self.model = models.TextCnn(self.layout == "channels_last") if self.name == "textcnn" else kinds[self.name]()
        if self.layout == "channels_last":
            self.model = self.model.to(memory_format=torch.channels_last)
        foreach = request.get("foreach", False)
        weights = self.model.parameters()
        if self.name == "gpt":
            self.optimizer = torch.optim.AdamW(weights, lr=1e-3, foreach=foreach)
        elif self.name == "resnet20":
            self.optimizer = torch.optim.SGD(weights, lr=0.01, momentum=0.9, foreach=foreach)
        else:
            self.optimizer = torch.optim.Adam(weights, lr=1e-3, eps=1e-7, foreach=foreach)
        self.data = [self.random_batch() for _ in range(BATCHES[self.name])]
        self.forward = self.model
        if request.get("mode") == "jit":
            self.forward = torch.jit.trace(self.model, self.data[0][0])
        self.at = 0

    def random_batch(self):
        n = self.batch
        if self.name == "textcnn":
            return torch.randint(0, 20_000, (n, 50)), torch.randint(0, 2, (n,))
        if self.name in ("cnn", "resnet20"):
            return self.arrange(torch.rand(n, 3, 32, 32)), torch.randint(0, 10, (n,))
        if self.name == "mlp":
            return torch.rand(n, 784), torch.randint(0, 10, (n,))
        return torch.randint(0, 65, (n, 64)), torch.randint(0, 65, (n * 64,))

    def arrange(self, x):
        return x.contiguous(memory_format=torch.channels_last) if self.layout == "channels_last" else x.contiguous()

    def step(self, x, y):
        loss = F.cross_entropy(self.forward(x), y)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return loss

    def run(self, steps: int) -> dict:
        if torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        with torch.backends.mkldnn.flags(enabled=self.mkldnn):
            start = time.perf_counter()
            for _ in range(steps):
                loss = self.step(*self.data[self.at])
                self.at = (self.at + 1) % len(self.data)
            value = loss.item()
            return {"seconds": time.perf_counter() - start, "loss": value}

    def losses(self, request: dict) -> dict:
        """Losses of steps on one given batch from given weights: both programs compute the same, or the timing means nothing."""
        models.load_weights(self.name, self.model, request["weights"], request["shapes"])
        x = torch.from_numpy(np.frombuffer(base64.b64decode(request["x"]), RAW[self.name]).copy())
        if self.name in ("cnn", "resnet20"):
            x = x.float() / 255 if self.name == "cnn" else x
            x = self.arrange(x.view(self.batch, 32, 32, 3).permute(0, 3, 1, 2))
        else:
            x = x.view(self.batch, -1)
            x = x.long() if RAW[self.name] is np.int32 else x
        y = torch.from_numpy(np.frombuffer(base64.b64decode(request["y"]), np.int32).copy()).long()
        losses = []
        group = self.optimizer.param_groups[0]
        epsilon = group.get("eps")
        for step in range(1, request["steps"] + 1):
            if epsilon is not None:
                # Keras adds epsilon before the bias correction, PyTorch after it: here alone, as Keras does.
                group["eps"] = epsilon / (1 - group["betas"][1] ** step) ** 0.5
            losses.append(self.step(x, y).item())
        if epsilon is not None:
            group["eps"] = epsilon
        return {"losses": losses}


def product(size: int, threads: int) -> dict:
    """The best rate of the square product over about half a second."""
    torch.set_num_threads(threads)
    a, b = torch.rand(size, size), torch.rand(size, size)
    best = float("inf")
    end = time.perf_counter() + 0.6
    while time.perf_counter() < end:
        start = time.perf_counter()
        torch.mm(a, b)
        best = min(best, time.perf_counter() - start)
    return {"gflops": 2 * size**3 / best / 1e9}


def serve() -> None:
    contenders: dict[str, Contender | ConvProduct] = {}

    def answer(request: dict) -> dict:
        what = request["do"]
        if what == "hello":
            return {
                "version": torch.__version__,
                "mkldnn": torch.backends.mkldnn.is_available(),
                "peakBytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            }
        if what == "prepare":
            contender = contenders[request["id"]] = Contender(request)
            return {"parameters": sum(p.numel() for p in contender.model.parameters())}
        if what == "prepare-conv":
            contender = contenders[request["id"]] = ConvProduct(request)
            return {"samples": contender.samples()}
        if what == "run":
            return contenders[request["id"]].run(request["steps"])
        if what == "losses":
            return contenders[request["id"]].losses(request)
        if what == "product":
            return product(request["size"], request["threads"])
        if what == "drop":
            del contenders[request["id"]]
            gc.collect()
            return {}
        raise ValueError(f"unknown request {what}")

    for line in sys.stdin:
        try:
            reply = answer(json.loads(line))
        except Exception as error:  # Whatever fails is the caller's to report: it knows which contender it was.
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    serve()
