"""Single products of a convolution in PyTorch: forward, gradient of the input, gradient of the filter, on the operands of
bench/products.ts. The gradients are the operator that autograd calls, with only the wanted output asked for.
"""
import time

import numpy as np
import torch
import torch.nn.functional as F

SAMPLES = 16


def operand(seed: int, shape: tuple) -> torch.Tensor:
    """The same numbers as in the other processes, from -0.5 to 0.5."""
    i = np.arange(int(np.prod(shape)), dtype=np.uint64)
    bits = ((i + seed * 7919) * 2654435761 & 0xFFFFFFFF) >> 8 & 0xFFFF
    return torch.from_numpy((bits / 65536 - 0.5).astype(np.float32)).view(shape)


class ConvProduct:
    def __init__(self, request: dict):
        p = request["product"]
        self.threads = request["threads"]
        self.mkldnn = request["mkldnn"]
        batch, extent, kernel, channels, filters = (p[k] for k in ("batch", "extent", "kernel", "channels", "filters"))
        self.depthwise = p["isDepthwise"]
        self.of = p["of"]
        out = (extent - (kernel - 1) * p["dilation"] - 1) // p["stride"] + 1
        last = request["layout"] == "channels_last"
        form = torch.channels_last if last else torch.contiguous_format
        w = operand(2, (kernel, kernel, channels, 1 if self.depthwise else filters))
        self.x = operand(1, (batch, extent, extent, channels)).permute(0, 3, 1, 2).contiguous(memory_format=form)
        self.w = w.permute(*self.filter_order).contiguous(memory_format=form)
        self.dy = operand(3, (batch, out, out, filters)).permute(0, 3, 1, 2).contiguous(memory_format=form)
        groups = channels if self.depthwise else 1
        self.stride, self.dilation, self.groups = [p["stride"]] * 2, [p["dilation"]] * 2, groups

    @property
    def filter_order(self):
        """Axes of [h, w, in, out] (depthwise: [h, w, channels, 1]) as PyTorch has them."""
        return (2, 3, 0, 1) if self.depthwise else (3, 2, 0, 1)

    def once(self) -> torch.Tensor:
        if self.of == "forward":
            return F.conv2d(self.x, self.w, None, self.stride, 0, self.dilation, self.groups)
        wanted = [self.of == "input", self.of == "filter", False]
        grads = torch.ops.aten.convolution_backward(
            self.dy, self.x, self.w, None, self.stride, [0, 0], self.dilation, False, [0, 0], self.groups, wanted
        )
        return grads[0 if self.of == "input" else 1]

    def samples(self) -> list:
        """Some elements of the result in Tenon's order of axes."""
        with torch.backends.mkldnn.flags(enabled=self.mkldnn), torch.no_grad():
            y = self.once()
        back = ((2, 3, 0, 1) if self.depthwise else (2, 3, 1, 0)) if self.of == "filter" else (0, 2, 3, 1)
        flat = y.permute(*back).reshape(-1)
        return [flat[(flat.numel() - 1) * i // (SAMPLES - 1)].item() for i in range(SAMPLES)]

    def run(self, steps: int) -> dict:
        if torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        with torch.backends.mkldnn.flags(enabled=self.mkldnn), torch.no_grad():
            start = time.perf_counter()
            for _ in range(steps):
                self.once()
            return {"seconds": time.perf_counter() - start}
