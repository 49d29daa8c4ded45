"""Golden vectors of layers from PyTorch (1.13, CPU), written as layers.json beside this file. Run: /usr/bin/python3 layers.py

Each case: class name and options of our layer, inputs, weights in our layout, whether it trains, the output, and the
gradients of sum(output * probe) with respect to the inputs and the trainable weights.
"""
import json
import os

import torch
import torch.nn.functional as F

torch.manual_seed(7)
cases = []


def tolist(t):
    return {"shape": list(t.shape), "data": [float(f"{v:.7g}") for v in t.detach().reshape(-1).double().tolist()]}


def case(name, cls, options, inputs, weights, f, trainable=None, training=False, after=None, integer=False):
    """f(inputs, weights) -> output in our layout, from tensors in our layout. `after`: values of all weights afterwards."""
    xs = [x.clone() if integer else x.clone().double().requires_grad_(True) for x in inputs]
    ws = [w.clone().double() for w in weights]
    trainable = [True] * len(ws) if trainable is None else trainable
    for w, t in zip(ws, trainable):
        w.requires_grad_(t)
    y = f(xs, ws)
    probe = torch.randn(y.shape).double()
    wanted = ([] if integer else xs) + [w for w, t in zip(ws, trainable) if t]
    grads = torch.autograd.grad((y * probe).sum(), wanted, allow_unused=True) if wanted else []
    n = 0 if integer else len(xs)
    record = {
        "name": name,
        "className": cls,
        "options": options,
        "training": training,
        "integer": integer,
        "inputs": [tolist(x) for x in inputs],
        "weights": [tolist(w) for w in weights],
        "output": tolist(y),
        "probe": tolist(probe),
        "inputGradients": [tolist(g) for g in grads[:n]],
        "weightGradients": [tolist(g) for g in grads[n:]],
    }
    if after is not None:
        record["after"] = [tolist(w) for w in after(xs, ws)]
    cases.append(record)


def r(*shape):
    # Rounded, so that the JSON is exact and short.
    return torch.round(torch.randn(shape) * 1000) / 1000


# ---- dense
for name, options, f in [
    ("linear", {}, lambda y: y),
    ("relu", {"activation": "relu"}, F.relu),
    ("tanh", {"activation": "tanh"}, torch.tanh),
]:
    case(f"dense {name}", "Dense", {"units": 3, **options}, [r(4, 5)], [r(5, 3), r(3)], lambda x, w, f=f: f(x[0] @ w[0] + w[1]))
case("dense on three axes, no bias", "Dense", {"units": 3, "useBias": False}, [r(2, 3, 4)], [r(4, 3)], lambda x, w: x[0] @ w[0])


# ---- convolutions: ours [n, ...spatial, c] and [...window, c / groups, filters]
def first(x):
    return x.movedim(-1, 1)


def last(x):
    return x.movedim(1, -1)


def same_padding(extents, kernel, strides, dilation):
    pairs = []
    for d, k, s, r_ in zip(extents, kernel, strides, dilation):
        total = max(0, (-(-d // s) - 1) * s + (k - 1) * r_ + 1 - d)
        pairs.append((total // 2, total - total // 2))
    return pairs


def pad(x, pairs, value=0.0):
    flat = [v for pair in reversed(pairs) for v in pair]
    return F.pad(x, flat, value=value)


def conv(rank, x, w, strides, padding, dilation, groups):
    extents = list(x.shape[1:-1])
    kernel = list(w.shape[:rank])
    x = first(x)
    if padding == "same":
        x = pad(x, same_padding(extents, kernel, strides, dilation))
    if padding == "causal":
        x = pad(x, [((kernel[0] - 1) * dilation[0], 0)])
    weight = w.movedim((-1, -2), (0, 1))
    f = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[rank]
    return last(f(x, weight, stride=strides, dilation=dilation, groups=groups))


def conv_case(rank, name, cls, options, shape, filters):
    strides = options.get("strides", 1)
    dilation = options.get("dilationRate", 1)
    strides = [strides] * rank if isinstance(strides, int) else strides
    dilation = [dilation] * rank if isinstance(dilation, int) else dilation
    kernel = options["kernelSize"]
    kernel = [kernel] * rank if isinstance(kernel, int) else kernel
    groups = options.get("groups", 1)
    padding = options.get("padding", "valid")
    case(name, cls, {"filters": filters, **options}, [r(*shape)], [r(*kernel, shape[-1] // groups, filters), r(filters)],
         lambda x, w: conv(rank, x[0], w[0], strides, padding, dilation, groups) + w[1])


conv_case(1, "conv1d valid", "Conv1D", {"kernelSize": 3}, [2, 7, 3], 4)
conv_case(1, "conv1d same, stride 2", "Conv1D", {"kernelSize": 3, "strides": 2, "padding": "same"}, [2, 8, 3], 2)
conv_case(1, "conv1d causal, dilated", "Conv1D", {"kernelSize": 2, "dilationRate": 2, "padding": "causal"}, [2, 6, 2], 3)
conv_case(2, "conv2d valid", "Conv2D", {"kernelSize": 3}, [2, 5, 6, 2], 3)
conv_case(2, "conv2d same", "Conv2D", {"kernelSize": [3, 2], "padding": "same"}, [2, 4, 5, 2], 3)
conv_case(2, "conv2d same, stride 2", "Conv2D", {"kernelSize": 3, "strides": 2, "padding": "same"}, [1, 6, 5, 2], 3)
conv_case(2, "conv2d strides 2 and 1", "Conv2D", {"kernelSize": 2, "strides": [2, 1]}, [1, 5, 4, 2], 3)
conv_case(2, "conv2d dilated", "Conv2D", {"kernelSize": 3, "dilationRate": 2}, [1, 6, 7, 2], 2)
conv_case(2, "conv2d in groups", "Conv2D", {"kernelSize": 2, "groups": 2}, [2, 4, 4, 4], 6)
conv_case(3, "conv3d", "Conv3D", {"kernelSize": 2}, [1, 3, 3, 3, 2], 2)


def depthwise(rank, x, w, strides, padding, dilation):
    c, m = w.shape[-2:]
    return conv(rank, x, w.reshape(*w.shape[:-2], 1, c * m), strides, padding, dilation, c)


case("depthwiseConv2d", "DepthwiseConv2D", {"kernelSize": 3, "depthMultiplier": 2, "padding": "same"}, [r(1, 4, 5, 3)],
     [r(3, 3, 3, 2), r(6)], lambda x, w: depthwise(2, x[0], w[0], [1, 1], "same", [1, 1]) + w[1])
case("depthwiseConv2d stride 2", "DepthwiseConv2D", {"kernelSize": 2, "strides": 2}, [r(1, 4, 5, 3)],
     [r(2, 2, 3, 1), r(3)], lambda x, w: depthwise(2, x[0], w[0], [2, 2], "valid", [1, 1]) + w[1])
case("depthwiseConv1d", "DepthwiseConv1D", {"kernelSize": 3}, [r(2, 6, 3)],
     [r(3, 3, 1), r(3)], lambda x, w: depthwise(1, x[0], w[0], [1], "valid", [1]) + w[1])
case("separableConv2d", "SeparableConv2D", {"filters": 4, "kernelSize": 3, "depthMultiplier": 2}, [r(1, 5, 5, 2)],
     [r(3, 3, 2, 2), r(1, 1, 4, 4), r(4)],
     lambda x, w: conv(2, depthwise(2, x[0], w[0], [1, 1], "valid", [1, 1]), w[1], [1, 1], "valid", [1, 1], 1) + w[2])
case("separableConv1d", "SeparableConv1D", {"filters": 3, "kernelSize": 2, "padding": "same", "activation": "relu"}, [r(2, 5, 2)],
     [r(2, 2, 1), r(1, 2, 3), r(3)],
     lambda x, w: F.relu(conv(1, depthwise(1, x[0], w[0], [1], "same", [1]), w[1], [1], "valid", [1], 1) + w[2]))


def transpose(rank, x, w, strides, padding):
    """Keras's transposed convolution is the gradient of the forward one that makes x's extents from the result's."""
    kernel = list(w.shape[:rank])
    d = list(x.shape[1:-1])
    out = [n * s + max(k - s, 0) if padding == "valid" else n * s for n, s, k in zip(d, strides, kernel)]
    probe = torch.zeros(x.shape[0], *out, w.shape[-2]).double().requires_grad_(True)
    # The forward kernel takes the filters (its channels) to x's channels.
    y = conv(rank, probe, w, strides, padding, [1] * rank, 1)
    return torch.autograd.grad(y, probe, x, create_graph=True)[0]


for cls, rank, name, options, shape in [
    ("Conv2DTranspose", 2, "conv2dTranspose valid", {"kernelSize": 3}, [1, 3, 4, 2]),
    ("Conv2DTranspose", 2, "conv2dTranspose same, stride 2", {"kernelSize": 3, "strides": 2, "padding": "same"}, [1, 3, 3, 2]),
    ("Conv2DTranspose", 2, "conv2dTranspose valid, stride 2, kernel 2", {"kernelSize": 2, "strides": 2}, [1, 3, 2, 2]),
    ("Conv2DTranspose", 2, "conv2dTranspose same, stride 2, kernel 4", {"kernelSize": 4, "strides": 2, "padding": "same"}, [1, 3, 2, 2]),
    ("Conv1DTranspose", 1, "conv1dTranspose stride 3", {"kernelSize": 4, "strides": 3}, [2, 3, 2]),
]:
    k = [options["kernelSize"]] * rank
    s = [options.get("strides", 1)] * rank
    p = options.get("padding", "valid")
    case(name, cls, {"filters": 3, **options}, [r(*shape)], [r(*k, 3, shape[-1]), r(3)],
         lambda x, w, s=s, p=p, rank=rank: transpose(rank, x[0], w[0], s, p) + w[1])


# ---- pooling
def max_pool(rank, x, size, strides, padding):
    y = first(x)
    if padding == "same":
        y = pad(y, same_padding(list(x.shape[1:-1]), size, strides, [1] * rank), value=float("-inf"))
    return last({1: F.max_pool1d, 2: F.max_pool2d}[rank](y, size, strides))


def average_pool(rank, x, size, strides, padding):
    y, ones = first(x), first(torch.ones_like(x))
    if padding == "same":
        pairs = same_padding(list(x.shape[1:-1]), size, strides, [1] * rank)
        y, ones = pad(y, pairs), pad(ones, pairs)
    f = {1: F.avg_pool1d, 2: F.avg_pool2d}[rank]
    return last(f(y, size, strides) / f(ones, size, strides))


for cls, rank, f in [("MaxPooling", 1, max_pool), ("MaxPooling", 2, max_pool), ("AveragePooling", 1, average_pool), ("AveragePooling", 2, average_pool)]:
    shape = [2, 7, 2] if rank == 1 else [1, 5, 6, 2]
    for options in [{}, {"poolSize": 3, "strides": 2, "padding": "same"}, {"poolSize": 3, "strides": 1}]:
        size = [options.get("poolSize", 2)] * rank
        strides = [options.get("strides", size[0])] * rank
        padding = options.get("padding", "valid")
        case(f"{cls}{rank}D {options}", f"{cls}{rank}D", options, [r(*shape)], [],
             lambda x, w, f=f, rank=rank, size=size, strides=strides, padding=padding: f(rank, x[0], size, strides, padding))
case("globalMaxPooling2d", "GlobalMaxPooling2D", {}, [r(2, 3, 4, 2)], [], lambda x, w: x[0].amax((1, 2)))
case("globalAveragePooling2d", "GlobalAveragePooling2D", {"keepDims": True}, [r(2, 3, 4, 2)], [], lambda x, w: x[0].mean((1, 2), keepdim=True))
case("globalMaxPooling1d", "GlobalMaxPooling1D", {}, [r(2, 5, 3)], [], lambda x, w: x[0].amax(1))
case("globalAveragePooling1d", "GlobalAveragePooling1D", {}, [r(2, 5, 3)], [], lambda x, w: x[0].mean(1))


# ---- normalizations. Batch norm: gamma, beta, moving mean, moving variance; momentum is the share that stays.
def batch_norm(x, w, training, epsilon):
    return last(F.batch_norm(first(x), w[2].clone().detach(), w[3].clone().detach(), w[0], w[1], training=training, momentum=0.0, eps=epsilon))


def moved(momentum):
    def after(x, w):
        axes = tuple(range(x[0].dim() - 1))
        mean, variance = x[0].mean(axes), x[0].var(axes, unbiased=False)
        return [w[0], w[1], momentum * w[2] + (1 - momentum) * mean, momentum * w[3] + (1 - momentum) * variance]
    return after


frozen = [True, True, False, False]
for shape in [[6, 3], [2, 3, 4, 3]]:
    for training in [True, False]:
        momentum, epsilon = (0.99, 1e-3) if len(shape) == 2 else (0.8, 1e-2)
        options = {} if len(shape) == 2 else {"momentum": momentum, "epsilon": epsilon}
        weights = [r(3), r(3), r(3), r(3).abs() + 0.5]
        case(f"batchNormalization {shape} training {training}", "BatchNormalization", options, [r(*shape)], weights,
             lambda x, w, t=training, e=epsilon: batch_norm(x[0], w, t, e), trainable=frozen, training=training,
             after=moved(momentum) if training else (lambda x, w: w))
case("layerNormalization", "LayerNormalization", {}, [r(2, 3, 5)], [r(5), r(5)], lambda x, w: F.layer_norm(x[0], (5,), w[0], w[1], 1e-3))
case("layerNormalization over two axes", "LayerNormalization", {"axis": [1, 2], "epsilon": 1e-5}, [r(2, 3, 4)], [r(3, 4), r(3, 4)],
     lambda x, w: F.layer_norm(x[0], (3, 4), w[0], w[1], 1e-5))
case("layerNormalization without beta", "LayerNormalization", {"center": False}, [r(2, 5)], [r(5)], lambda x, w: F.layer_norm(x[0], (5,), w[0], None, 1e-3))
for groups in [2, -1]:
    case(f"groupNormalization {groups}", "GroupNormalization", {"groups": groups}, [r(2, 3, 2, 4)], [r(4), r(4)],
         lambda x, w, g=groups: last(F.group_norm(first(x[0]), 4 if g == -1 else g, w[0], w[1], 1e-3)))
case("rmsNormalization", "RMSNormalization", {}, [r(2, 3, 5)], [r(5)],
     lambda x, w: x[0] * torch.rsqrt(x[0].square().mean(-1, keepdim=True) + 1e-6) * w[0])
case("unitNormalization", "UnitNormalization", {}, [r(3, 4)], [], lambda x, w: F.normalize(x[0], dim=-1))


# ---- embedding, activations with weights
case("embedding", "Embedding", {"inputDim": 6, "outputDim": 3}, [torch.tensor([[0, 5, 2], [2, 2, 1]])], [r(6, 3)],
     lambda x, w: F.embedding(x[0], w[0]), integer=True)
case("pReLU", "PReLU", {}, [r(3, 4)], [r(4)], lambda x, w: torch.where(x[0] > 0, x[0], x[0] * w[0]))
case("pReLU with shared axes", "PReLU", {"sharedAxes": [1, 2]}, [r(2, 3, 3, 2)], [r(1, 1, 2)], lambda x, w: last(F.prelu(first(x[0]), w[0].reshape(-1))))
case("reLU", "ReLU", {"maxValue": 1, "negativeSlope": 0.1, "threshold": 0.2}, [r(5, 6)], [],
     lambda x, w: torch.where(x[0] >= 1, torch.ones_like(x[0]), torch.where(x[0] >= 0.2, x[0], 0.1 * (x[0] - 0.2))))
case("leakyReLU", "LeakyReLU", {}, [r(5, 6)], [], lambda x, w: F.leaky_relu(x[0], 0.3))
case("eLU", "ELU", {"alpha": 0.7}, [r(5, 6)], [], lambda x, w: F.elu(x[0], 0.7))
case("softmax over axis 1", "Softmax", {"axis": 1}, [r(2, 3, 4)], [], lambda x, w: F.softmax(x[0], 1))

for name, f in {
    "relu": F.relu, "relu6": F.relu6, "leakyRelu": lambda x: F.leaky_relu(x, 0.2), "elu": F.elu, "selu": F.selu, "celu": F.celu,
    "sigmoid": torch.sigmoid, "logSigmoid": F.logsigmoid, "hardSigmoid": F.hardsigmoid, "tanh": torch.tanh, "hardTanh": F.hardtanh,
    "tanhShrink": F.tanhshrink, "softplus": F.softplus, "softsign": F.softsign, "exponential": torch.exp, "gelu": F.gelu,
    "geluNew": lambda x: F.gelu(x, approximate="tanh"), "silu": F.silu, "hardSilu": F.hardswish, "mish": F.mish, "glu": F.glu,
    "hardShrink": F.hardshrink, "softShrink": F.softshrink, "squareplus": lambda x: (x + torch.sqrt(x * x + 4)) / 2,
    "softmax": lambda x: F.softmax(x, -1), "logSoftmax": lambda x: F.log_softmax(x, -1),
}.items():
    case(f"activation {name}", "Activation", {"activation": name}, [r(3, 8) * 2], [], lambda x, w, f=f: f(x[0]))


# ---- attention, from torch's own module's arithmetic
def attention(x, w, heads, key_dim, causal=False):
    query, value = x[0], x[-1]
    q = torch.einsum("bsf,fhd->bhsd", query, w[0]) + w[1][None, :, None]
    k = torch.einsum("bsf,fhd->bhsd", value, w[2]) + w[3][None, :, None]
    v = torch.einsum("bsf,fhd->bhsd", value, w[4]) + w[5][None, :, None]
    scores = q @ k.transpose(-1, -2) / key_dim ** 0.5
    if causal:
        scores = scores.masked_fill(torch.ones(scores.shape[-2:]).triu(1).bool(), float("-inf"))
    return torch.einsum("bhsd,hdf->bsf", scores.softmax(-1) @ v, w[6]) + w[7]


def mha_weights(f_q, f_v, heads, kd, vd, out):
    return [r(f_q, heads, kd), r(heads, kd), r(f_v, heads, kd), r(heads, kd), r(f_v, heads, vd), r(heads, vd), r(heads, vd, out), r(out)]


# The first case against torch.nn.MultiheadAttention itself, to be sure of the arithmetic above.
x, w = r(2, 4, 6), mha_weights(6, 6, 2, 3, 3, 6)
module = torch.nn.MultiheadAttention(6, 2, batch_first=True)
with torch.no_grad():
    module.in_proj_weight.copy_(torch.cat([w[i].reshape(6, 6).T for i in (0, 2, 4)]))
    module.in_proj_bias.copy_(torch.cat([w[i].reshape(6) for i in (1, 3, 5)]))
    module.out_proj.weight.copy_(w[6].reshape(6, 6).T)
    module.out_proj.bias.copy_(w[7])
    assert torch.allclose(module(x, x, x)[0], attention([x], w, 2, 3), atol=1e-5)
case("multiHeadAttention on itself", "MultiHeadAttention", {"numHeads": 2, "keyDim": 3}, [x], w, lambda x, w: attention(x, w, 2, 3))
case("multiHeadAttention causal", "MultiHeadAttention", {"numHeads": 2, "keyDim": 3}, [r(2, 4, 6)], mha_weights(6, 6, 2, 3, 3, 6),
     lambda x, w: attention(x, w, 2, 3, True))
cases[-1]["call"] = {"useCausalMask": True}
case("multiHeadAttention on others", "MultiHeadAttention", {"numHeads": 2, "keyDim": 3, "valueDim": 2, "outputShape": 5}, [r(2, 4, 6), r(2, 3, 4)],
     mha_weights(6, 4, 2, 3, 2, 5), lambda x, w: attention(x, w, 2, 3))

# ---- resizing
for name, cls, options, size, mode in [
    ("upSampling2d bilinear", "UpSampling2D", {"size": 2, "interpolation": "bilinear"}, (6, 8), "bilinear"),
    ("upSampling2d nearest", "UpSampling2D", {"size": [2, 3]}, (6, 12), "nearest"),
    ("resizing bilinear, smaller", "Resizing", {"height": 2, "width": 3}, (2, 3), "bilinear"),
    ("resizing nearest", "Resizing", {"height": 5, "width": 6, "interpolation": "nearest"}, (5, 6), "nearest-exact"),
]:
    options_ = dict(options)
    extra = {} if mode.startswith("nearest") else {"align_corners": False}
    case(name, cls, options_, [r(1, 3, 4, 2)], [], lambda x, w, s=size, m=mode, e=extra: last(F.interpolate(first(x[0]), s, mode=m, **e)))

path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "layers.json")
with open(path, "w") as out:
    out.write("[\n" + ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases) + "\n]\n")
print(len(cases), "cases,", os.path.getsize(path) // 1024, "KiB")
