"""A Llama fine-tuned on captions in PyTorch, one epoch of batches of 64, padded to the longest.

One JSON request a line: {"model", "folder", "mode": full|lora|qlora, "rate", "seed"}; "folder" holds token ids as JSON lists in train.json and
test_2016_flickr.json. Answers {"seconds" of training, "before", "after": nats a token on the test captions}. qlora: NF4, block 64.
"""
import json
import math
import time

import numpy as np
import torch
import torch.nn.functional as F

from pytorch_llama import read_safetensors, serve

NF4 = torch.tensor(
    [-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334]
    + [-0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224]
    + [0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0]
)
TABLE = "model.embed_tokens.weight"


class Model:
    def __init__(self, folder, mode):
        c = json.load(open(folder + "/config.json"))
        self.heads, self.kv, self.layers, self.eps = (
            c["num_attention_heads"], c["num_key_value_heads"], c["num_hidden_layers"], c["rms_norm_eps"],
        )
        self.width, self.theta = c["hidden_size"], c["rope_theta"]
        w = self.weights = read_safetensors(folder + "/model.safetensors")
        if TABLE not in w:
            w[TABLE] = w.pop("lm_head.weight")
        linear = [k for k in w if k.endswith("proj.weight")]
        self.adapters = {}
        if mode == "qlora":
            for k in linear:
                blocks = w[k].reshape(-1, 64)
                scale = blocks.abs().amax(1, keepdim=True)
                w[k] = (NF4[((blocks / scale)[..., None] - NF4).abs().argmin(-1)] * scale).reshape(w[k].shape)
        if mode == "full":
            self.parameters = [x.requires_grad_() for x in w.values()]
        else:
            for k in linear:
                out, inputs = w[k].shape
                a = torch.nn.init.kaiming_uniform_(torch.empty(8, inputs), a=math.sqrt(5)).requires_grad_()
                self.adapters[k] = (a, torch.zeros(out, 8, requires_grad=True))
            self.parameters = [p for pair in self.adapters.values() for p in pair]

    def linear(self, x, k):
        y = x @ self.weights[k].t()
        if k in self.adapters:
            a, b = self.adapters[k]
            y = y + 2.0 * (x @ a.t()) @ b.t()
        return y

    def norm(self, x, k):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weights[k]

    def rotate(self, x, t):
        d = x.shape[-1]
        angles = torch.arange(t)[:, None] * self.theta ** (-torch.arange(0, d, 2) / d)
        angles = torch.cat((angles, angles), -1)
        return x * angles.cos() + torch.cat((-x[..., d // 2 :], x[..., : d // 2]), -1) * angles.sin()

    def logits(self, ids):
        b, t = ids.shape
        x = F.embedding(ids, self.weights[TABLE])
        mask = ~torch.ones(t, t, dtype=torch.bool).tril()
        d = self.width // self.heads
        for i in range(self.layers):
            p = f"model.layers.{i}."
            h = self.norm(x, p + "input_layernorm.weight")
            q, k, v = (self.linear(h, p + f"self_attn.{z}_proj.weight").view(b, t, -1, d).transpose(1, 2) for z in "qkv")
            q, k = self.rotate(q, t), self.rotate(k, t)
            k, v = k.repeat_interleave(self.heads // self.kv, 1), v.repeat_interleave(self.heads // self.kv, 1)
            y = ((q @ k.transpose(-2, -1)) * d**-0.5).masked_fill(mask, -1e30).softmax(-1) @ v
            x = x + self.linear(y.transpose(1, 2).reshape(b, t, self.width), p + "self_attn.o_proj.weight")
            h = self.norm(x, p + "post_attention_layernorm.weight")
            gate = F.silu(self.linear(h, p + "mlp.gate_proj.weight"))
            x = x + self.linear(gate * self.linear(h, p + "mlp.up_proj.weight"), p + "mlp.down_proj.weight")
        return self.norm(x, "model.norm.weight") @ self.weights.get("lm_head.weight", self.weights[TABLE]).t()


def batch(rows):
    t = max(map(len, rows)) + 1
    ids, labels = torch.full((len(rows), t), 2), torch.full((len(rows), t), -100)
    for i, row in enumerate(rows):
        whole = torch.tensor([1] + row + [2])
        ids[i, : len(row) + 1], labels[i, : len(row) + 1] = whole[:-1], whole[1:]
    return ids, labels


def evaluate(model, rows):
    total = count = 0
    with torch.no_grad():
        for i in range(0, len(rows), 100):
            ids, labels = batch(rows[i : i + 100])
            total += F.cross_entropy(model.logits(ids).flatten(0, 1), labels.flatten(), reduction="sum").item()
            count += (labels >= 0).sum().item()
    return total / count


def answer(request):
    torch.set_num_threads(2)
    torch.manual_seed(request["seed"])
    model = Model(request["model"], request["mode"])
    load = lambda name: json.load(open(f"{request['folder']}/{name}.json"))
    test, train = load("test_2016_flickr"), load("train")
    before = evaluate(model, test)
    optimizer = torch.optim.AdamW(model.parameters, lr=request["rate"], weight_decay=0.0)
    order = np.random.default_rng(request["seed"]).permutation(len(train))
    steps = len(train) // 64
    began = time.perf_counter()
    for s in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = request["rate"] * min(1, (s + 1) / 20) * (0.5 + 0.5 * math.cos(math.pi * s / steps))
        ids, labels = batch([train[i] for i in order[s * 64 : s * 64 + 64]])
        loss = F.cross_entropy(model.logits(ids).flatten(0, 1), labels.flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters, 1.0)
        optimizer.step()
    return {"seconds": time.perf_counter() - began, "before": before, "after": evaluate(model, test)}


serve(answer)
