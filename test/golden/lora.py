"""Golden vectors of LoRA from PyTorch (1.13, CPU), written as lora.json beside this file. Run: /usr/bin/python3 lora.py

The formulas are those of PEFT's LoraLayer classes (src/peft/tuners/lora/layer.py), written out: result + lora_B(lora_A(x)) * scaling, with
A and B in PEFT's layouts. "layers": single layers in our weight layout, with the output, the gradients of sum(output * probe) with respect
to A and B, and the merged weight. "llama": a small Llama with an adapter file's tensors by PEFT's keys, and the logits.
"""
import json
import math
import os

import torch
import torch.nn.functional as F

torch.manual_seed(11)


def r(*shape, scale=1.0):
    # Rounded, so that the JSON is exact and short.
    return torch.round(torch.randn(shape) * 1000 * scale) / 1000


def tolist(t):
    return {"shape": list(t.shape), "data": [float(f"{v:.8g}") for v in t.detach().reshape(-1).double().tolist()]}


layers = []


def case(name, cls, options, x, weights, a, b, alpha, f, merged, rslora=False, integer=False):
    """f(x, weights, a, b, scaling) -> output in our layout; merged(weights, a, b, scaling) -> the first weight in ours."""
    rank = a.shape[0]
    scaling = alpha / math.sqrt(rank) if rslora else alpha / rank
    xs = x if integer else x.double()
    ws = [w.double() for w in weights]
    a_, b_ = a.double().requires_grad_(), b.double().requires_grad_()
    y = f(xs, ws, a_, b_, scaling)
    probe = r(*y.shape).double()
    grads = torch.autograd.grad((y * probe).sum(), [a_, b_])
    layers.append({
        "name": name, "className": cls, "options": options, "integer": integer, "rank": rank, "alpha": alpha, "rsLora": rslora,
        "input": tolist(x), "weights": [tolist(w) for w in weights], "a": tolist(a), "b": tolist(b), "output": tolist(y),
        "probe": tolist(probe), "gradA": tolist(grads[0]), "gradB": tolist(grads[1]), "merged": tolist(merged(ws, a_, b_, scaling)),
    })


for act, g in [("linear", lambda y: y), ("relu", F.relu)]:
    case(f"linear {act}", "Linear", {"units": 5, "activation": act}, r(3, 2, 4), [r(5, 4), r(5)], r(2, 4), r(5, 2), 4,
         lambda x, w, a, b, s, g=g: g(F.linear(x, w[0], w[1]) + F.linear(F.linear(x, a), b) * s),
         lambda w, a, b, s: w[0] + s * (b @ a))
# PEFT treats transformers' Conv1D, whose weight is [in, out], as a Linear with fan_in_fan_out.
case("dense tanh, rsLoRA", "Dense", {"units": 5, "activation": "tanh"}, r(3, 4), [r(4, 5), r(5)], r(3, 4), r(5, 3), 2,
     lambda x, w, a, b, s: torch.tanh(x @ w[0] + w[1] + F.linear(F.linear(x, a), b) * s),
     lambda w, a, b, s: w[0] + s * (b @ a).t(), rslora=True)
case("einsumDense", "EinsumDense", {"equation": "abc,cde->abde", "outputShape": [None, 2, 3], "biasAxes": "de"}, r(2, 3, 4),
     [r(4, 2, 3), r(2, 3)], r(2, 4), r(6, 2), 3,
     lambda x, w, a, b, s: torch.einsum("abc,cde->abde", x, w[0]) + w[1] + (F.linear(F.linear(x, a), b) * s).reshape(2, 3, 2, 3),
     lambda w, a, b, s: w[0] + (s * (b @ a)).t().reshape(4, 2, 3))
nchw = lambda x: x.permute(0, 3, 1, 2)
nhwc = lambda x: x.permute(0, 2, 3, 1)
oihw = lambda k: k.permute(3, 2, 0, 1)
hwio = lambda k: k.permute(2, 3, 1, 0)
case("conv2d stride 2 relu", "Conv2D", {"filters": 5, "kernelSize": [3, 2], "strides": 2, "activation": "relu"}, r(2, 7, 6, 3),
     [r(3, 2, 3, 5), r(5)], r(2, 3, 3, 2), r(5, 2, 1, 1), 4,
     lambda x, w, a, b, s: F.relu(nhwc(F.conv2d(nchw(x), oihw(w[0]), w[1], stride=2) + F.conv2d(F.conv2d(nchw(x), a, stride=2), b) * s)),
     # PEFT: conv_fn(weight_A.transpose(0, 1), weight_B).transpose(0, 1) * scaling
     lambda w, a, b, s: w[0] + hwio(F.conv2d(a.transpose(0, 1), b).transpose(0, 1) * s))
case("conv2d same, dilated", "Conv2D", {"filters": 4, "kernelSize": 3, "padding": "same", "dilationRate": 2, "useBias": False}, r(1, 5, 5, 2),
     [r(3, 3, 2, 4)], r(2, 2, 3, 3), r(4, 2, 1, 1), 2,
     lambda x, w, a, b, s: nhwc(F.conv2d(nchw(x), oihw(w[0]), padding=2, dilation=2) + F.conv2d(F.conv2d(nchw(x), a, padding=2, dilation=2), b) * s),
     lambda w, a, b, s: w[0] + hwio(F.conv2d(a.transpose(0, 1), b).transpose(0, 1) * s))
case("conv1d causal", "Conv1D", {"filters": 4, "kernelSize": 3, "padding": "causal"}, r(2, 6, 3), [r(3, 3, 4), r(4)], r(2, 3, 3), r(4, 2, 1), 2,
     lambda x, w, a, b, s: (F.conv1d(F.pad(x.transpose(1, 2), (2, 0)), w[0].permute(2, 1, 0), w[1])
                            + F.conv1d(F.conv1d(F.pad(x.transpose(1, 2), (2, 0)), a), b) * s).transpose(1, 2),
     lambda w, a, b, s: w[0] + (F.conv1d(a.transpose(0, 1), b).transpose(0, 1) * s).permute(2, 1, 0))
case("embedding", "Embedding", {"inputDim": 7, "outputDim": 5}, torch.tensor([[0, 3, 6], [3, 1, 2]]), [r(7, 5)], r(2, 7), r(5, 2), 4,
     lambda x, w, a, b, s: F.embedding(x, w[0]) + (F.embedding(x, a.t()) @ b.t()) * s,
     lambda w, a, b, s: w[0] + s * (b @ a).t(), integer=True)

# ---- a small Llama, the adapter by PEFT's keys
config = {
    "model_type": "llama", "vocab_size": 17, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": False, "max_position_embeddings": 32,
}
V, C, FF, H, K, L = 17, 8, 12, 2, 1, 2
D = C // H
W = {"model.embed_tokens.weight": r(V, C), "lm_head.weight": r(V, C, scale=0.5), "model.norm.weight": 1 + r(C, scale=0.1)}
for l in range(L):
    p = f"model.layers.{l}."
    W[p + "input_layernorm.weight"] = 1 + r(C, scale=0.1)
    W[p + "post_attention_layernorm.weight"] = 1 + r(C, scale=0.1)
    for name, o, i in [("self_attn.q_proj", C, C), ("self_attn.k_proj", K * D, C), ("self_attn.v_proj", K * D, C), ("self_attn.o_proj", C, C),
                       ("mlp.gate_proj", FF, C), ("mlp.up_proj", FF, C), ("mlp.down_proj", C, FF)]:
        W[p + name + ".weight"] = r(o, i, scale=0.4)


def forward(ids, adapter, scaling, saved=None):
    """Logits; `adapter`: PEFT's keys less their prefix -> tensor. `saved`: modules_to_save, by the same keys."""
    w = {k: v.double() for k, v in W.items()}
    w.update({k: v.double() for k, v in (saved or {}).items()})
    ad = {k: v.double() for k, v in adapter.items()}

    def lin(x, name):
        y = x @ w[name + ".weight"].t()
        if name + ".lora_A.weight" in ad:
            y = y + (x @ ad[name + ".lora_A.weight"].t()) @ ad[name + ".lora_B.weight"].t() * scaling
        return y

    def rms(x, name):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + config["rms_norm_eps"]) * w[name + ".weight"]

    def rope(x, T):
        f = config["rope_theta"] ** (-torch.arange(0, D, 2).double() / D)
        a = torch.arange(T).double()[:, None] * f
        a = torch.cat((a, a), -1)
        return x * a.cos() + torch.cat((-x[..., D // 2:], x[..., :D // 2]), -1) * a.sin()

    B, T = ids.shape
    x = w["model.embed_tokens.weight"][ids]
    if "model.embed_tokens.lora_embedding_A" in ad:
        x = x + ad["model.embed_tokens.lora_embedding_A"].t()[ids] @ ad["model.embed_tokens.lora_embedding_B"].t() * scaling
    mask = ~torch.ones(T, T, dtype=torch.bool).tril()
    for l in range(L):
        p = f"model.layers.{l}."
        h = rms(x, p + "input_layernorm")
        q, k, v = (lin(h, p + f"self_attn.{z}_proj").view(B, T, -1, D).transpose(1, 2) for z in "qkv")
        q, k = rope(q, T), rope(k, T)
        k, v = k.repeat_interleave(H // K, 1), v.repeat_interleave(H // K, 1)
        y = ((q @ k.transpose(-2, -1)) * D ** -0.5).masked_fill(mask, -1e30).softmax(-1) @ v
        x = x + lin(y.transpose(1, 2).reshape(B, T, C), p + "self_attn.o_proj")
        h = rms(x, p + "post_attention_layernorm")
        x = x + lin(F.silu(lin(h, p + "mlp.gate_proj")) * lin(h, p + "mlp.up_proj"), p + "mlp.down_proj")
    return lin(rms(x, "model.norm"), "lm_head")


ids = torch.randint(0, V, (2, 6))
rank, alpha = 2, 6


def adapter_for(names):
    out = {}
    for name in names:
        if name == "model.embed_tokens":
            out[name + ".lora_embedding_A"], out[name + ".lora_embedding_B"] = r(rank, V, scale=0.3), r(C, rank, scale=0.3)
        else:
            o, i = W[name + ".weight"].shape
            out[name + ".lora_A.weight"], out[name + ".lora_B.weight"] = r(rank, i, scale=0.3), r(o, rank, scale=0.3)
    return out


linears = [k[:-len(".weight")] for k in W if k.endswith("_proj.weight")]
variants = []
for name, modules, saved in [
    ("all-linear", linears, {}),
    ("q_proj, v_proj and modules_to_save", [n for n in linears if n.endswith(("q_proj", "v_proj"))],
     {"lm_head.weight": r(V, C, scale=0.5), "model.norm.weight": 1 + r(C, scale=0.2)}),
    ("embeddings and the output matrix", ["model.embed_tokens", "lm_head"] + linears[:1], {}),
]:
    ad = adapter_for(modules)
    variants.append({
        "name": name, "r": rank, "lora_alpha": alpha,
        "target_modules": sorted({m.split(".")[-1] for m in modules}) if name != "embeddings and the output matrix" else modules,
        "modules_to_save": sorted(k[:-len(".weight")].split(".")[-1] for k in saved) or None,
        "tensors": {"base_model.model." + k: tolist(v) for k, v in {**ad, **saved}.items()},
        "logits": tolist(forward(ids, ad, alpha / rank, saved)),
    })
llama = {"config": config, "weights": {k: tolist(v) for k, v in W.items()}, "ids": ids.tolist(), "logits": tolist(forward(ids, {}, 1)), "adapters": variants}

with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "lora.json"), "w") as f:
    json.dump({"layers": layers, "llama": llama}, f, separators=(",", ":"))
