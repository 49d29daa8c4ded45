"""Golden vectors of the losses: value a sample and gradient of the mean, in double precision.

PyTorch's own loss where it has the same one; else Keras 3's documented formula, written here from its documentation and
differentiated by PyTorch. Run: /usr/bin/python3 test/golden/losses.py  (PyTorch 1.13) -> losses.json
"""
import json
import os
import torch
import torch.nn.functional as F

torch.manual_seed(7)
torch.set_default_dtype(torch.float64)
EPS = 1e-7
f32 = lambda x: x.float().double()  # the inputs are exact in f32
rand = lambda *s: f32(torch.randn(*s))
prob = lambda *s: f32(torch.softmax(torch.randn(*s), -1))
unit = lambda *s: f32(torch.rand(*s) * 0.9 + 0.05)
hot = lambda n, k: F.one_hot(torch.randint(0, k, (n,)), k).double()
clip = lambda p: p.clamp(EPS, 1 - EPS)
norm = lambda p: clip(p / p.sum(-1, keepdim=True))
cases = []


def case(loss, y_true, y_pred, fn, integer=False, **options):
    p = y_pred.clone().requires_grad_(True)
    values = fn(y_true, p)
    values = values.reshape(values.shape[0], -1).mean(1)
    (g,) = torch.autograd.grad(values.mean(), p)
    cases.append(
        dict(loss=loss, options=options, integer=integer,
             yTrue=dict(shape=list(y_true.shape), values=y_true.flatten().tolist()),
             yPred=dict(shape=list(y_pred.shape), values=y_pred.flatten().tolist()),
             perSample=values.tolist(), gradient=g.flatten().tolist()))


# categorical
ce = lambda y, z: F.cross_entropy(z, y, reduction='none')
case('categoricalCrossentropy', hot(5, 4), rand(5, 4), ce, fromLogits=True)
case('categoricalCrossentropy', prob(5, 4), rand(5, 4) * 8, ce, fromLogits=True)
case('categoricalCrossentropy', hot(5, 4), rand(5, 4), lambda y, z: F.cross_entropy(z, y, reduction='none', label_smoothing=0.2),
     fromLogits=True, labelSmoothing=0.2)
case('categoricalCrossentropy', hot(5, 4), prob(5, 4), lambda y, p: -(y * torch.log(norm(p))).sum(-1))
case('categoricalCrossentropy', prob(3, 4), unit(3, 4), lambda y, p: -(y * torch.log(norm(p))).sum(-1))
case('categoricalCrossentropy', prob(2, 3, 4), prob(2, 3, 4), lambda y, p: -(y * torch.log(norm(p))).sum(-1))
case('categoricalCrossentropy', prob(2, 4, 3), rand(2, 4, 3), lambda y, z: F.cross_entropy(z, y, reduction='none'), fromLogits=True, axis=1)
labels = torch.randint(0, 4, (6,))
sparse = lambda y, z: F.cross_entropy(z, y.reshape(-1), reduction='none')
case('categoricalCrossentropy', labels, rand(6, 4), sparse, integer=True, fromLogits=True)
case('categoricalCrossentropy', labels.reshape(6, 1), rand(6, 4), sparse, integer=True, fromLogits=True)
case('sparseCategoricalCrossentropy', labels, rand(6, 4), sparse, integer=True, fromLogits=True)
case('sparseCategoricalCrossentropy', labels, prob(6, 4), lambda y, p: F.nll_loss(torch.log(norm(p)), y, reduction='none'), integer=True)
case('sparseCategoricalCrossentropy', labels, rand(6, 4), lambda y, z: F.cross_entropy(z, y, reduction='none', label_smoothing=0.1),
     integer=True, fromLogits=True, labelSmoothing=0.1)
case('sparseCategoricalCrossentropy', labels, rand(6, 4), lambda y, z: F.cross_entropy(z, y, reduction='none', ignore_index=2),
     integer=True, fromLogits=True, ignoreClass=2)
case('sparseCategoricalCrossentropy', torch.randint(0, 5, (2, 3)), rand(2, 3, 5),
     lambda y, z: F.cross_entropy(z.reshape(6, 5), y.reshape(6), reduction='none').reshape(2, 3), integer=True, fromLogits=True)

# binary
bits = lambda *s: (torch.rand(*s) > 0.5).double()
smooth = lambda y, s: y * (1 - s) + 0.5 * s
case('binaryCrossentropy', bits(5, 3), unit(5, 3), lambda y, p: F.binary_cross_entropy(p, y, reduction='none'))
case('binaryCrossentropy', bits(5, 1), unit(5, 1), lambda y, p: F.binary_cross_entropy(p, y, reduction='none'))
case('binaryCrossentropy', bits(5), unit(5, 1), lambda y, p: F.binary_cross_entropy(p[:, 0], y, reduction='none'))
case('binaryCrossentropy', bits(5, 3), rand(5, 3) * 20, lambda y, z: F.binary_cross_entropy_with_logits(z, y, reduction='none'), fromLogits=True)
case('binaryCrossentropy', bits(5, 3), rand(5, 3),
     lambda y, z: F.binary_cross_entropy_with_logits(z, smooth(y, 0.2), reduction='none'), fromLogits=True, labelSmoothing=0.2)


def binary_focal(y, p, gamma=2.0, alpha=None):
    p_t = y * p + (1 - y) * (1 - p)
    loss = (1 - p_t) ** gamma * F.binary_cross_entropy(p, y, reduction='none')
    return loss if alpha is None else loss * (y * alpha + (1 - y) * (1 - alpha))


case('binaryFocalCrossentropy', bits(4, 3), unit(4, 3), binary_focal)
case('binaryFocalCrossentropy', bits(4, 3), unit(4, 3), lambda y, p: binary_focal(y, p, 3.0, 0.4), gamma=3, alpha=0.4, applyClassBalancing=True)
case('binaryFocalCrossentropy', bits(4, 3), rand(4, 3), lambda y, z: binary_focal(y, torch.sigmoid(z)), fromLogits=True)
case('categoricalFocalCrossentropy', hot(4, 3), prob(4, 3), lambda y, p: (0.25 * (1 - norm(p)) ** 2 * -y * torch.log(norm(p))).sum(-1))
case('categoricalFocalCrossentropy', hot(4, 3), rand(4, 3),
     lambda y, z: (0.5 * (1 - torch.softmax(z, -1)) ** 1.5 * -y * F.log_softmax(z, -1)).sum(-1), fromLogits=True, alpha=0.5, gamma=1.5)
case('klDivergence', prob(4, 5), prob(4, 5), lambda y, p: F.kl_div(torch.log(p), y, reduction='none').sum(-1))

# hinges: labels of 0 and 1 become -1 and 1
signs = lambda y: y * 2 - 1
case('hinge', bits(4, 3), rand(4, 3), lambda y, p: torch.relu(1 - signs(y) * p).mean(-1))
case('hinge', signs(bits(4, 3)), rand(4, 3), lambda y, p: torch.relu(1 - y * p).mean(-1))
case('squaredHinge', bits(4, 3), rand(4, 3), lambda y, p: (torch.relu(1 - signs(y) * p) ** 2).mean(-1))
case('categoricalHinge', hot(4, 3), rand(4, 3), lambda y, p: torch.relu(((1 - y) * p).amax(-1) - (y * p).sum(-1) + 1))

# regression
none = dict(reduction='none')
case('meanSquaredError', rand(4, 3), rand(4, 3), lambda y, p: F.mse_loss(p, y, **none))
case('meanSquaredError', rand(4), rand(4, 1), lambda y, p: F.mse_loss(p[:, 0], y, **none))
case('meanSquaredError', rand(2, 3, 2), rand(2, 3, 2), lambda y, p: F.mse_loss(p, y, **none))
case('meanAbsoluteError', rand(4, 3), rand(4, 3), lambda y, p: F.l1_loss(p, y, **none))
case('meanAbsolutePercentageError', rand(4, 3), rand(4, 3), lambda y, p: 100 * ((y - p) / y.abs().clamp(min=EPS)).abs())
case('meanSquaredLogarithmicError', unit(4, 3) * 9, unit(4, 3) * 9,
     lambda y, p: (torch.log(1 + p.clamp(min=EPS)) - torch.log(1 + y.clamp(min=EPS))) ** 2)
case('huber', rand(4, 3), rand(4, 3) * 2, lambda y, p: F.huber_loss(p, y, **none))
case('huber', rand(4, 3), rand(4, 3), lambda y, p: F.huber_loss(p, y, delta=0.3, **none), delta=0.3)
case('logCosh', rand(4, 3), rand(4, 3) * 3, lambda y, p: torch.log(torch.cosh(p - y)))
case('poisson', unit(4, 3) * 5, unit(4, 3) * 5, lambda y, p: F.poisson_nll_loss(p, y, log_input=False, eps=EPS, **none))
case('cosineSimilarity', rand(4, 3), rand(4, 3), lambda y, p: -F.cosine_similarity(y, p, -1))
case('cosineSimilarity', rand(2, 3, 4), rand(2, 3, 4), lambda y, p: -F.cosine_similarity(y, p, 1), axis=1)


def rounded(x):
    if isinstance(x, float):
        return float(f'{x:.9g}')
    if isinstance(x, dict):
        return {k: rounded(v) for k, v in x.items()}
    return [rounded(v) for v in x] if isinstance(x, list) else x


with open(os.path.join(os.path.dirname(__file__), 'losses.json'), 'w') as f:
    f.write('[\n' + ',\n'.join(json.dumps(rounded(c)) for c in cases) + '\n]\n')
