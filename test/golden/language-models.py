#!/usr/bin/env python3
"""Golden vectors of small language models from PyTorch: logits, gradients and one AdamW step of GPT-2, Llama 3, Mistral, Qwen2 and Qwen3.

Written from the papers and the models' definitions, not from Tenon. Weights follow a formula that both sides compute, so the file holds
results only (float32, base64). Run: /usr/bin/python3 test/golden/language-models.py > test/golden/language-models.json
"""
import base64, json, math, torch, torch.nn.functional as F

V, C, L, H, K, FF, B, T = 29, 8, 2, 2, 1, 12, 2, 10
llama = dict(vocab_size=V, hidden_size=C, intermediate_size=FF, num_hidden_layers=L, num_attention_heads=H, num_key_value_heads=K,
             max_position_embeddings=64, rms_norm_eps=1e-5, rope_theta=10000.0, hidden_act="silu", tie_word_embeddings=False)
CONFIGS = {
    "gpt2": dict(model_type="gpt2", vocab_size=V, n_positions=16, n_embd=C, n_layer=L, n_head=H, layer_norm_epsilon=1e-5, activation_function="gelu_new"),
    "llama": dict(llama, model_type="llama", rope_scaling=dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16)),
    "mistral": dict(llama, model_type="mistral", sliding_window=4, num_key_value_heads=2),
    "qwen2": dict(llama, model_type="qwen2", rope_theta=1000000.0, tie_word_embeddings=True, use_sliding_window=False, sliding_window=3),
    "qwen3": dict(llama, model_type="qwen3", head_dim=6, tie_word_embeddings=True),
}


def names(c):
    """Every weight's name and shape, in the order of the formula."""
    if c["model_type"] == "gpt2":
        yield "transformer.wte.weight", (V, C)
        yield "transformer.wpe.weight", (c["n_positions"], C)
        for i in range(L):
            p = f"transformer.h.{i}."
            for n, s in (("ln_1.weight", (C,)), ("ln_1.bias", (C,)), ("attn.c_attn.weight", (C, 3 * C)), ("attn.c_attn.bias", (3 * C,)), ("attn.c_proj.weight", (C, C)), ("attn.c_proj.bias", (C,)),
                         ("ln_2.weight", (C,)), ("ln_2.bias", (C,)), ("mlp.c_fc.weight", (C, 4 * C)), ("mlp.c_fc.bias", (4 * C,)), ("mlp.c_proj.weight", (4 * C, C)), ("mlp.c_proj.bias", (C,))):
                yield p + n, s
        yield "transformer.ln_f.weight", (C,)
        yield "transformer.ln_f.bias", (C,)
        return
    D, kv = c.get("head_dim", C // H), c["num_key_value_heads"]
    yield "model.embed_tokens.weight", (V, C)
    for i in range(L):
        p = f"model.layers.{i}."
        yield p + "input_layernorm.weight", (C,)
        for n, o in (("q", H * D), ("k", kv * D), ("v", kv * D)):
            yield p + f"self_attn.{n}_proj.weight", (o, C)
            if c["model_type"] == "qwen2": yield p + f"self_attn.{n}_proj.bias", (o,)
        yield p + "self_attn.o_proj.weight", (C, H * D)
        if c["model_type"] == "qwen3": yield p + "self_attn.q_norm.weight", (D,); yield p + "self_attn.k_norm.weight", (D,)
        yield p + "post_attention_layernorm.weight", (C,)
        for n, s in (("gate", (FF, C)), ("up", (FF, C)), ("down", (C, FF))): yield p + f"mlp.{n}_proj.weight", s
    yield "model.norm.weight", (C,)
    if not c["tie_word_embeddings"]: yield "lm_head.weight", (V, C)


def weight(k, name, shape):
    """cos of a running phase, around 1 for the scales of norms. In double precision, rounded once."""
    n = math.prod(shape)
    w = 0.3 * torch.cos((torch.arange(n, dtype=torch.float64) + 1) * (0.7 + 0.013 * k))
    if any(s in name for s in ("norm.weight", "layernorm.weight", "ln_1.weight", "ln_2.weight", "ln_f.weight")): w = 1 + 0.5 * w
    return w.float().reshape(shape).requires_grad_()


def split(x, heads): return x.view(B, T, heads, -1).transpose(1, 2)


def attention(q, k, v, window):
    g = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(g, 1), v.repeat_interleave(g, 1)
    i, j = torch.arange(T)[:, None], torch.arange(T)[None]
    hidden = (j > i) | (j <= i - window)
    a = (q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])).masked_fill(hidden, float("-inf")).softmax(-1)
    return (a @ v).transpose(1, 2).reshape(B, T, -1)


def gpt2(W, ids):
    x = W["transformer.wte.weight"][ids] + W["transformer.wpe.weight"][:T]
    ln = lambda x, n: F.layer_norm(x, (C,), W[n + ".weight"], W[n + ".bias"], 1e-5)
    lin = lambda x, n: x @ W[n + ".weight"] + W[n + ".bias"]
    for i in range(L):
        p = f"transformer.h.{i}."
        q, k, v = (split(z, H) for z in lin(ln(x, p + "ln_1"), p + "attn.c_attn").split(C, -1))
        x = x + lin(attention(q, k, v, T), p + "attn.c_proj")
        h = lin(ln(x, p + "ln_2"), p + "mlp.c_fc")
        x = x + lin(0.5 * h * (1 + torch.tanh(math.sqrt(2 / math.pi) * (h + 0.044715 * h**3))), p + "mlp.c_proj")
    return ln(x, "transformer.ln_f") @ W["transformer.wte.weight"].t()


def frequencies(c, D):
    f = c["rope_theta"] ** (-torch.arange(0, D, 2, dtype=torch.float64) / D)
    s = c.get("rope_scaling")
    if not s: return f
    out = []
    for x in f.tolist():  # Llama 3.1's published rule
        wl, old = 2 * math.pi / x, s["original_max_position_embeddings"]
        if wl < old / s["high_freq_factor"]: out.append(x)
        elif wl > old / s["low_freq_factor"]: out.append(x / s["factor"])
        else:
            m = (old / wl - s["low_freq_factor"]) / (s["high_freq_factor"] - s["low_freq_factor"])
            out.append((1 - m) * x / s["factor"] + m * x)
    return torch.tensor(out, dtype=torch.float64)


def family(c, W, ids):
    D, kv = c.get("head_dim", C // H), c["num_key_value_heads"]
    a = (torch.arange(T)[:, None] * frequencies(c, D)).float()
    a = torch.cat((a, a), -1)
    rot = lambda x: x * a.cos() + torch.cat((-x[..., D // 2:], x[..., :D // 2]), -1) * a.sin()
    rms = lambda x, n: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * W[n + ".weight"]
    lin = lambda x, n: x @ W[n + ".weight"].t() + W.get(n + ".bias", torch.zeros(()))
    x = W["model.embed_tokens.weight"][ids]
    for i in range(L):
        p = f"model.layers.{i}."
        h = rms(x, p + "input_layernorm")
        q, k, v = (split(lin(h, p + f"self_attn.{n}_proj"), m) for n, m in (("q", H), ("k", kv), ("v", kv)))
        if c["model_type"] == "qwen3": q, k = rms(q, p + "self_attn.q_norm"), rms(k, p + "self_attn.k_norm")
        x = x + lin(attention(rot(q), rot(k), v, c["sliding_window"] if c["model_type"] == "mistral" else T), p + "self_attn.o_proj")
        h = rms(x, p + "post_attention_layernorm")
        x = x + lin(F.silu(lin(h, p + "mlp.gate_proj")) * lin(h, p + "mlp.up_proj"), p + "mlp.down_proj")
    return rms(x, "model.norm") @ W.get("lm_head.weight", W["model.embed_tokens.weight"]).t()


def pack(t): return base64.b64encode(t.detach().contiguous().numpy().astype("<f4").tobytes()).decode()


out = {}
ids = torch.tensor([[(3 * b + 7 * t * t + 5 * t) % V for t in range(T)] for b in range(B)])
labels = torch.tensor([[(ids[b, t + 1].item() if t + 1 < T else -100) for t in range(T)] for b in range(B)])
for name, c in CONFIGS.items():
    W = {n: weight(k, n, s) for k, (n, s) in enumerate(names(c))}
    logits = gpt2(W, ids) if name == "gpt2" else family(c, W, ids)
    loss = F.cross_entropy(logits.reshape(-1, V), labels.reshape(-1))
    loss.backward()
    grads = {n: w.grad.clone() for n, w in W.items()}
    groups = [dict(params=[w for w in W.values() if w.dim() > 1], weight_decay=0.1), dict(params=[w for w in W.values() if w.dim() == 1], weight_decay=0.0)]
    opt = torch.optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.95), eps=1e-3)
    opt.step()
    out[name] = dict(config=c, loss=loss.item(), logits=pack(logits), weights={n: dict(shape=list(w.shape), gradient=pack(grads[n]), updated=pack(w)) for n, w in W.items()})
print(json.dumps(dict(ids=ids.tolist(), labels=labels.tolist(), models=out), indent=0))
