"""The benchmarks' networks in PyTorch: the tutorial's CNN, the character GPT, the MLP, ResNet-20, the text CNN, and how Tenon's
weights go into them.

Kept in the form that a PyTorch user writes; `attention` is spelled out because 1.13 has no public fused one.
"""
import torch
import torch.nn as nn
import torch.nn.functional as F


class Cnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1 = nn.Conv2d(3, 32, 3)
        self.c2 = nn.Conv2d(32, 64, 3)
        self.d1 = nn.Linear(2304, 128)
        self.d2 = nn.Linear(128, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.c1(x)), 2)
        x = F.max_pool2d(F.relu(self.c2(x)), 2)
        return self.d2(F.relu(self.d1(x.flatten(1))))


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.d1 = nn.Linear(784, 512)
        self.d2 = nn.Linear(512, 512)
        self.d3 = nn.Linear(512, 10)

    def forward(self, x):
        return self.d3(F.relu(self.d2(F.relu(self.d1(x)))))


class Block(nn.Module):
    def __init__(self, width: int, heads: int, context: int):
        super().__init__()
        self.heads = heads
        self.l1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.p = nn.Linear(width, width)
        self.l2 = nn.LayerNorm(width)
        self.f = nn.Linear(width, 4 * width)
        self.o = nn.Linear(4 * width, width)
        self.register_buffer("hidden", torch.ones(context, context, dtype=torch.bool).tril().logical_not(), persistent=False)

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = self.qkv(self.l1(x)).split(c, 2)
        q = q.view(b, t, self.heads, c // self.heads).transpose(1, 2)
        k = k.view(b, t, self.heads, c // self.heads).transpose(1, 2)
        v = v.view(b, t, self.heads, c // self.heads).transpose(1, 2)
        a = (q @ k.transpose(-2, -1)) * (c // self.heads) ** -0.5
        y = a.masked_fill(self.hidden, float("-inf")).softmax(-1) @ v
        x = x + self.p(y.transpose(1, 2).reshape(b, t, c))
        return x + self.o(F.gelu(self.f(self.l2(x))))


class Gpt(nn.Module):
    def __init__(self, layers=4, heads=4, width=128, context=64, vocabulary=65):
        super().__init__()
        self.w = nn.Embedding(vocabulary, width)
        self.pe = nn.Embedding(context, width)
        self.b = nn.ModuleList([Block(width, heads, context) for _ in range(layers)])
        self.ln = nn.LayerNorm(width)
        self.h = nn.Linear(width, vocabulary, bias=False)

    def forward(self, i):
        x = self.w(i) + self.pe.weight
        for block in self.b:
            x = block(x)
        return self.h(self.ln(x)).flatten(0, 1)


class Residual(nn.Module):
    """Two convolutions beside a shortcut: the input itself, or a 1×1 projection where the shape changes."""

    def __init__(self, channels: int, filters: int):
        super().__init__()
        stride = 1 if channels == filters else 2
        self.c1 = nn.Conv2d(channels, filters, 3, stride, 1, bias=False)
        self.n1 = nn.BatchNorm2d(filters)
        self.c2 = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
        self.n2 = nn.BatchNorm2d(filters)
        self.shortcut = nn.Identity()
        if stride == 2:
            self.shortcut = nn.Sequential(nn.Conv2d(channels, filters, 1, 2, bias=False), nn.BatchNorm2d(filters))

    def forward(self, x):
        y = F.relu(self.n1(self.c1(x)), inplace=True)
        return F.relu(self.n2(self.c2(y)).add_(self.shortcut(x)), inplace=True)


class Resnet20(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.n = nn.BatchNorm2d(16)
        widths = [16] * 4 + [32] * 3 + [64] * 3
        self.blocks = nn.Sequential(*(Residual(a, b) for a, b in zip(widths, widths[1:])))
        self.d = nn.Linear(64, 10)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight)

    def forward(self, x):
        x = self.blocks(F.relu(self.n(self.c(x)), inplace=True))
        return self.d(F.adaptive_avg_pool2d(x, 1).flatten(1))


class TextCnn(nn.Module):
    """`channels_last`: convolutions over pictures of one column, whose memory order is the embedding's own."""

    def __init__(self, channels_last: bool, vocabulary=20_000, width=128, filters=100):
        super().__init__()
        self.channels_last = channels_last
        self.e = nn.Embedding(vocabulary, width)
        windows = (3, 4, 5)
        self.c = nn.ModuleList(nn.Conv2d(width, filters, (w, 1)) if channels_last else nn.Conv1d(width, filters, w) for w in windows)
        self.d = nn.Linear(len(windows) * filters, 2)

    def forward(self, i):
        x = self.e(i).transpose(1, 2)
        if self.channels_last:
            x = x.unsqueeze(3)
        return self.d(torch.cat([F.relu(c(x)).flatten(2).max(2).values for c in self.c], 1))


def parameters_in_tenons_order(name: str, model: nn.Module) -> list:
    """PyTorch's parameters, in the order in which Tenon's workload lists its weights."""
    if name in ("resnet20", "textcnn"):
        return list(model.parameters())
    if name == "cnn":
        return [p for m in (model.c1, model.c2, model.d1, model.d2) for p in (m.weight, m.bias)]
    if name == "mlp":
        return [p for m in (model.d1, model.d2, model.d3) for p in (m.weight, m.bias)]
    blocks = [p for b in model.b for m in (b.l1, b.qkv, b.p, b.l2, b.f, b.o) for p in (m.weight, m.bias)]
    return [model.w.weight, model.pe.weight, *blocks, model.ln.weight, model.ln.bias, model.h.weight]


def to_pytorch_layout(name: str, parameter: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Kernels [h, w, in, out] → [out, in, h, w] and [in, out] → [out, in]; flattened pictures go channels first."""
    if value.dim() == 4:
        return value.permute(3, 2, 0, 1)
    if value.dim() == 3:
        return value.permute(2, 1, 0).reshape(parameter.shape)
    if name == "cnn" and tuple(value.shape) == (2304, 128):
        return value.view(6, 6, 64, 128).permute(3, 2, 0, 1).reshape(128, 2304)
    embeddings = {"gpt": (65, 64), "textcnn": (20_000,)}.get(name, ())
    is_embedding = parameter.shape == value.shape and value.shape[0] in embeddings
    return value.t() if value.dim() == 2 and not is_embedding else value


def load_weights(name: str, model: nn.Module, path: str, shapes: list) -> None:
    """Copies Tenon's weights: one file of f32, tensor after tensor."""
    flat = torch.from_file(path, shared=False, size=sum(torch.Size(s).numel() for s in shapes))
    at = 0
    with torch.no_grad():
        for parameter, shape in zip(parameters_in_tenons_order(name, model), shapes, strict=True):
            n = torch.Size(shape).numel()
            parameter.copy_(to_pytorch_layout(name, parameter, flat[at : at + n].view(shape)))
            at += n
