"""PyTorch's training step of a Llama (SmolLM2-135M's shape): a process that reads one JSON request a line and answers with one JSON line.

{"do": "train", "folder", "mode": full|lora, "dtype": f32|bf16, "foreach", "threads"} · {"do": "losses", "n", "ids", "labels"} → losses
{"do": "steps", "n"} → milliseconds · {"do": "peak"} → bytes of its largest resident set · {"do": "product", "size", "threads"} → GFLOP/s
Trained weights are f32, as is what the optimizer keeps; frozen ones are held in the dtype that is computed in.
"""
import base64
import json
import math
import re
import struct
import sys
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

B, T = 4, 256


def read_safetensors(path):
    raw = open(path, "rb").read()
    (size,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + size])
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        array = np.frombuffer(raw[8 + size + begin : 8 + size + end], "<f4").reshape(entry["shape"])
        tensors[name] = torch.from_numpy(array.copy())
    return tensors


class Llama:
    def __init__(self, folder, mode, dtype):
        self.config = json.load(open(folder + "/config.json"))
        self.dtype = torch.bfloat16 if dtype == "bf16" else torch.float32
        self.lora = mode == "lora"
        weights = read_safetensors(folder + "/model.safetensors")
        if self.lora:
            self.weights = {k: w.to(self.dtype) if w.dim() == 2 else w for k, w in weights.items()}
            self.adapters = {}
            for k, w in self.weights.items():
                if k.endswith("proj.weight"):
                    out, inputs = w.shape
                    a = nn.init.kaiming_uniform_(torch.empty(16, inputs), a=math.sqrt(5)).requires_grad_()
                    self.adapters[k] = (a, torch.zeros(out, 16, requires_grad=True))
            self.parameters = [p for pair in self.adapters.values() for p in pair]
        else:
            self.weights = {k: w.requires_grad_() for k, w in weights.items()}
            self.adapters = {}
            self.parameters = list(self.weights.values())
        d = self.config["hidden_size"] // self.config["num_attention_heads"]
        frequencies = self.config["rope_theta"] ** (-torch.arange(0, d, 2) / d)
        angles = torch.arange(T)[:, None] * frequencies
        angles = torch.cat((angles, angles), -1)
        self.cos, self.sin = angles.cos().to(self.dtype), angles.sin().to(self.dtype)
        self.mask = ~torch.ones(T, T, dtype=torch.bool).tril()

    def linear(self, x, name):
        w = self.weights[name]
        y = x @ (w if w.dtype == self.dtype else w.to(self.dtype)).t()
        if name in self.adapters:
            a, b = (p.to(self.dtype) for p in self.adapters[name])
            y = y + (x @ a.t()) @ b.t() * 2.0
        return y

    def norm(self, x, name):
        x32 = x.float()
        scaled = x32 * torch.rsqrt(x32.pow(2).mean(-1, keepdim=True) + self.config["rms_norm_eps"])
        return (scaled * self.weights[name].float()).to(self.dtype)

    def rotate(self, x):
        h = x.shape[-1] // 2
        return x * self.cos + torch.cat((-x[..., h:], x[..., :h]), -1) * self.sin

    def loss(self, ids, labels):
        heads, kv = self.config["num_attention_heads"], self.config["num_key_value_heads"]
        b, t = ids.shape
        x = F.embedding(ids, self.weights["model.embed_tokens.weight"]).to(self.dtype)
        c = x.shape[-1]
        d = c // heads
        for i in range(self.config["num_hidden_layers"]):
            p = f"model.layers.{i}."
            h = self.norm(x, p + "input_layernorm.weight")
            q, k, v = (self.linear(h, p + f"self_attn.{z}_proj.weight").view(b, t, -1, d).transpose(1, 2) for z in "qkv")
            q, k = self.rotate(q), self.rotate(k)
            k, v = k.repeat_interleave(heads // kv, 1), v.repeat_interleave(heads // kv, 1)
            scores = ((q @ k.transpose(-2, -1)) * d**-0.5).masked_fill(self.mask, float("-inf"))
            y = scores.float().softmax(-1).to(self.dtype) @ v
            x = x + self.linear(y.transpose(1, 2).reshape(b, t, c), p + "self_attn.o_proj.weight")
            h = self.norm(x, p + "post_attention_layernorm.weight")
            gate = F.silu(self.linear(h, p + "mlp.gate_proj.weight"))
            x = x + self.linear(gate * self.linear(h, p + "mlp.up_proj.weight"), p + "mlp.down_proj.weight")
        logits = self.norm(x, "model.norm.weight") @ self.weights["model.embed_tokens.weight"].to(self.dtype).t()
        return F.cross_entropy(logits.float().view(-1, logits.shape[-1]), labels.view(-1))


model = None
optimizer = None


def step(ids, labels):
    loss = model.loss(ids, labels)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return loss.item()


def random_ids():
    return torch.randint(0, model.config["vocab_size"], (B, T))


def decoded(text):
    return torch.from_numpy(np.frombuffer(base64.b64decode(text), "<i4").astype(np.int64).reshape(B, T))


def answer(request):
    global model, optimizer
    what = request["do"]
    if what == "train":
        torch.manual_seed(0)
        torch.set_num_threads(request["threads"])
        model = Llama(request["folder"], request["mode"], request["dtype"])
        optimizer = torch.optim.AdamW(model.parameters, lr=1e-4, eps=1e-12, weight_decay=0.01, foreach=request["foreach"])
        return {"trainable": sum(p.numel() for p in model.parameters)}
    if what == "losses":
        ids, labels = decoded(request["ids"]), decoded(request["labels"])
        return {"losses": [step(ids, labels) for _ in range(request["n"])]}
    if what == "steps":
        began = time.perf_counter()
        for _ in range(request["n"]):
            step(random_ids(), random_ids())
        return {"ms": (time.perf_counter() - began) * 1e3}
    if what == "peak":
        return {"bytes": int(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read()).group(1)) * 1024}
    if what == "product":
        torch.set_num_threads(request["threads"])
        a = torch.rand(request["size"], request["size"])
        times = []
        for _ in range(30):
            began = time.perf_counter()
            a @ a
            times.append(time.perf_counter() - began)
        return {"gflops": 2 * request["size"] ** 3 / min(times) / 1e9}
    raise ValueError(f"unknown request {what}")


def serve(answer):
    for line in sys.stdin:
        try:
            reply = answer(json.loads(line))
        except Exception as error:  # the other side names whom it comes from
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    serve(answer)
