"""Golden vectors of the optimizers (weights after each of several steps) and schedules (rates at steps), in double precision.

PyTorch's own where its formula is Keras's (SGD, Adadelta, most schedules); else Keras 3's documented formula in numpy:
Keras's Adam has epsilon outside of the bias correction, RMSprop and Adagrad have it under the root, and PyTorch 1.13's NAdam
multiplies one momentum twice into the product of the next step (mended in later versions).
Run: /usr/bin/python3 test/golden/optimizers.py  (PyTorch 1.13) -> optimizers.json
"""
import json
import math
import os
import numpy as np
import torch

rng = np.random.default_rng(11)
STEPS = 7
start = [rng.standard_normal((2, 3)).astype('float32').astype('float64'), rng.standard_normal(4).astype('float32').astype('float64')]
grads = [[(rng.standard_normal(w.shape) * rng.choice([0.01, 1, 5])).astype('float32').astype('float64') for w in start] for _ in range(STEPS)]
runs = []


def record(name, options, states):
    runs.append(dict(optimizer=name, options=options, weights=[[w.flatten().tolist() for w in s] for s in states]))


def by_torch(name, options, make):
    params = [torch.tensor(w, requires_grad=True) for w in start]
    opt = make(params)
    states = []
    for gs in grads:
        for p, g in zip(params, gs):
            p.grad = torch.tensor(g)
        opt.step()
        states.append([p.detach().numpy().copy() for p in params])
    record(name, options, states)


def by_formula(name, options, update, slots=(), lr=0.001, decay=0.0, clip=None):
    """update(w, g, state, t, lr) -> w; state begins with zeros (or (name, value)) of the weight's shape."""
    ws = [w.copy() for w in start]
    state = [{(s if isinstance(s, str) else s[0]): np.full(w.shape, 0.0 if isinstance(s, str) else s[1]) for s in slots} for w in start]
    states = []
    for t, gs in enumerate(grads, 1):
        gs = clip(gs) if clip else gs
        ws = [update(w - w * decay * lr, g, s, t, lr) for w, g, s in zip(ws, gs, state)]
        states.append([w.copy() for w in ws])
    record(name, options, states)


by_torch('sgd', {}, lambda p: torch.optim.SGD(p, lr=0.01))
by_torch('sgd', dict(learningRate=0.05, momentum=0.9), lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9))
by_torch('sgd', dict(learningRate=0.05, momentum=0.8, nesterov=True), lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.8, nesterov=True))
by_torch('adadelta', dict(learningRate=1.0), lambda p: torch.optim.Adadelta(p, lr=1.0, rho=0.95, eps=1e-7))
by_torch('adadelta', dict(learningRate=0.5, rho=0.8, epsilon=1e-4), lambda p: torch.optim.Adadelta(p, lr=0.5, rho=0.8, eps=1e-4))


def adam(b1=0.9, b2=0.999, eps=1e-7, amsgrad=False):
    def update(w, g, s, t, lr):
        s['m'] = b1 * s['m'] + (1 - b1) * g
        s['v'] = b2 * s['v'] + (1 - b2) * g * g
        v = s['v']
        if amsgrad:
            v = s['vhat'] = np.maximum(s['vhat'], v)
        return w - s['m'] * (lr * math.sqrt(1 - b2 ** t) / (1 - b1 ** t)) / (np.sqrt(v) + eps)
    return update


ADAM = ('m', 'v', 'vhat')
by_formula('adam', {}, adam(), ADAM)
by_formula('adam', dict(learningRate=0.01, beta1=0.8, beta2=0.99, epsilon=1e-3), adam(0.8, 0.99, 1e-3), ADAM, lr=0.01)
by_formula('adam', dict(learningRate=0.01, amsgrad=True), adam(amsgrad=True), ADAM, lr=0.01)
by_formula('adamW', {}, adam(), ADAM, decay=0.004)
by_formula('adamW', dict(learningRate=0.01, weightDecay=0.1), adam(), ADAM, lr=0.01, decay=0.1)
by_formula('adam', dict(learningRate=0.01, clipNorm=1.5), adam(), ADAM, lr=0.01,
           clip=lambda gs: [g * min(1, 1.5 / np.linalg.norm(g)) for g in gs])
by_formula('adam', dict(learningRate=0.01, globalClipNorm=2), adam(), ADAM, lr=0.01,
           clip=lambda gs: [g * min(1, 2 / math.sqrt(sum((h * h).sum() for h in gs))) for g in gs])
by_formula('adam', dict(learningRate=0.01, clipValue=0.5), adam(), ADAM, lr=0.01, clip=lambda gs: [np.clip(g, -0.5, 0.5) for g in gs])
by_formula('sgd', dict(weightDecay=0.2), lambda w, g, s, t, lr: w - lr * g, lr=0.01, decay=0.2)


def rmsprop(rho=0.9, momentum=0.0, eps=1e-7, centered=False):
    def update(w, g, s, t, lr):
        s['v'] = rho * s['v'] + (1 - rho) * g * g
        d = s['v']
        if centered:
            s['a'] = rho * s['a'] + (1 - rho) * g
            d = d - s['a'] ** 2
        move = lr * g / np.sqrt(d + eps)
        s['b'] = momentum * s['b'] + move
        return w - s['b']
    return update


RMS = ('v', 'a', 'b')
by_formula('rmsprop', {}, rmsprop(), RMS)
by_formula('rmsprop', dict(learningRate=0.01, momentum=0.9), rmsprop(momentum=0.9), RMS, lr=0.01)
by_formula('rmsprop', dict(learningRate=0.01, rho=0.8, centered=True, epsilon=1e-3), rmsprop(0.8, 0.0, 1e-3, True), RMS, lr=0.01)


def adagrad(w, g, s, t, lr):
    s['a'] = s['a'] + g * g
    return w - lr * g / np.sqrt(s['a'] + 1e-7)


by_formula('adagrad', {}, adagrad, (('a', 0.1),))
by_formula('adagrad', dict(learningRate=0.1, initialAccumulatorValue=0.5), adagrad, (('a', 0.5),), lr=0.1)


def adamax(w, g, s, t, lr):
    s['m'] = 0.9 * s['m'] + 0.1 * g
    s['u'] = np.maximum(0.999 * s['u'], np.abs(g))
    return w - lr / (1 - 0.9 ** t) * s['m'] / (s['u'] + 1e-7)


by_formula('adamax', {}, adamax, ('m', 'u'))


def nadam(b1=0.9, b2=0.999, eps=1e-7):
    mu = lambda t: b1 * (1 - 0.5 * 0.96 ** t)

    def update(w, g, s, t, lr):
        s['m'] = b1 * s['m'] + (1 - b1) * g
        s['v'] = b2 * s['v'] + (1 - b2) * g * g
        product = math.prod(mu(i) for i in range(1, t + 1))
        m_hat = mu(t + 1) * s['m'] / (1 - product * mu(t + 1)) + (1 - mu(t)) * g / (1 - product)
        return w - lr * m_hat / (np.sqrt(s['v'] / (1 - b2 ** t)) + eps)
    return update


by_formula('nadam', {}, nadam(), ('m', 'v'))
by_formula('nadam', dict(learningRate=0.02, beta1=0.8, beta2=0.95, epsilon=1e-3), nadam(0.8, 0.95, 1e-3), ('m', 'v'), lr=0.02)


def lion(b1=0.9, b2=0.99):
    def update(w, g, s, t, lr):
        new = w - lr * np.sign(b1 * s['m'] + (1 - b1) * g)
        s['m'] = b2 * s['m'] + (1 - b2) * g
        return new
    return update


by_formula('lion', {}, lion(), ('m',))
by_formula('lion', dict(learningRate=0.01, beta1=0.7, beta2=0.8, weightDecay=0.1), lion(0.7, 0.8), ('m',), lr=0.01, decay=0.1)

# schedules: rates at the steps 0..N-1
tables = []


def schedule_torch(name, options, lr, make, n=40):
    opt = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    s = make(opt)
    rates = []
    for _ in range(n):
        rates.append(opt.param_groups[0]['lr'])
        opt.step()
        s.step()
    tables.append(dict(schedule=name, options=options, rates=rates))


def schedule_formula(name, options, fn, n=40):
    tables.append(dict(schedule=name, options=options, rates=[fn(t) for t in range(n)]))


L = torch.optim.lr_scheduler
schedule_torch('exponentialDecay', dict(initialLearningRate=0.1, decaySteps=1, decayRate=0.9), 0.1, lambda o: L.ExponentialLR(o, 0.9))
schedule_formula('exponentialDecay', dict(initialLearningRate=0.1, decaySteps=7, decayRate=0.5), lambda t: 0.1 * 0.5 ** (t / 7))
schedule_torch('exponentialDecay', dict(initialLearningRate=0.1, decaySteps=7, decayRate=0.5, staircase=True), 0.1, lambda o: L.StepLR(o, 7, 0.5))
schedule_torch('stepDecay', dict(initialLearningRate=0.3, stepSize=9), 0.3, lambda o: L.StepLR(o, 9))
schedule_torch('piecewiseConstantDecay', dict(boundaries=[4, 11, 20], values=[1.0, 0.5, 0.25, 0.125]), 1.0, lambda o: L.MultiStepLR(o, [5, 12, 21], 0.5))
schedule_torch('polynomialDecay', dict(initialLearningRate=0.2, decaySteps=25, endLearningRate=0, power=2), 0.2, lambda o: L.PolynomialLR(o, 25, 2))
schedule_formula('polynomialDecay', dict(initialLearningRate=0.2, decaySteps=25), lambda t: (0.2 - 1e-4) * (1 - min(t, 25) / 25) + 1e-4)


def poly_cycle(t):
    steps = 15 * max(1, math.ceil(t / 15))
    return (0.2 - 0.01) * (1 - t / steps) ** 0.5 + 0.01


schedule_formula('polynomialDecay', dict(initialLearningRate=0.2, decaySteps=15, endLearningRate=0.01, power=0.5, cycle=True), poly_cycle)
schedule_formula('inverseTimeDecay', dict(initialLearningRate=0.1, decaySteps=5, decayRate=0.5), lambda t: 0.1 / (1 + 0.5 * t / 5))
schedule_formula('inverseTimeDecay', dict(initialLearningRate=0.1, decaySteps=5, decayRate=0.5, staircase=True), lambda t: 0.1 / (1 + 0.5 * (t // 5)))
schedule_torch('cosineDecay', dict(initialLearningRate=0.1, decaySteps=39), 0.1, lambda o: L.CosineAnnealingLR(o, 39))


def cosine_warm(t):
    if t < 8:
        return 0.01 + (0.2 - 0.01) * t / 8
    return 0.2 * (0.9 * 0.5 * (1 + math.cos(math.pi * min(t - 8, 20) / 20)) + 0.1)


schedule_formula('cosineDecay', dict(initialLearningRate=0.01, decaySteps=20, alpha=0.1, warmupTarget=0.2, warmupSteps=8), cosine_warm)
schedule_torch('cosineDecayRestarts', dict(initialLearningRate=0.1, firstDecaySteps=5), 0.1, lambda o: L.CosineAnnealingWarmRestarts(o, 5, 2))
schedule_torch('cosineDecayRestarts', dict(initialLearningRate=0.1, firstDecaySteps=7, tMul=1), 0.1, lambda o: L.CosineAnnealingWarmRestarts(o, 7, 1))


def restarts(t):
    begin, length, height = 0, 5.0, 1.0
    while t >= begin + length:
        begin, length, height = begin + length, length * 1.5, height * 0.8
    return 0.1 * (0.8 * height * 0.5 * (1 + math.cos(math.pi * (t - begin) / length)) + 0.2)


schedule_formula('cosineDecayRestarts', dict(initialLearningRate=0.1, firstDecaySteps=5, tMul=1.5, mMul=0.8, alpha=0.2), restarts, 30)
cycle = lambda **k: (lambda o: L.OneCycleLR(o, 0.5, total_steps=40, cycle_momentum=False, **k))
schedule_torch('oneCycle', dict(maxLearningRate=0.5, totalSteps=40), 0.1, cycle(), 39)
schedule_torch('oneCycle', dict(maxLearningRate=0.5, totalSteps=40, pctStart=0.25, divFactor=10, finalDivFactor=100, annealStrategy='linear'), 0.1,
               cycle(pct_start=0.25, div_factor=10, final_div_factor=100, anneal_strategy='linear'), 39)
schedule_torch('oneCycle', dict(maxLearningRate=0.5, totalSteps=40, threePhase=True), 0.1, cycle(three_phase=True), 39)
schedule_torch('linearWarmup', dict(learningRate=0.4, warmupSteps=10, initialLearningRate=0.1), 0.4, lambda o: L.LinearLR(o, 0.25, 1.0, 10))
schedule_formula('warmupStableDecay', dict(learningRate=0.4, totalSteps=40), lambda t: float(np.interp(t, [32, 40], [0.4, 0])))
schedule_formula('warmupStableDecay', dict(learningRate=0.4, totalSteps=36, warmupSteps=5, decaySteps=12, alpha=0.1),
                 lambda t: float(np.interp(t, [-1, 5, 24, 36], [0, 0.4, 0.4, 0.04])))


def rounded(x):
    if isinstance(x, float):
        return float(f'{x:.9g}')
    if isinstance(x, dict):
        return {k: rounded(v) for k, v in x.items()}
    return [rounded(v) for v in x] if isinstance(x, list) else x


lines = lambda xs: '[\n' + ',\n'.join(json.dumps(rounded(x)) for x in xs) + '\n]'
with open(os.path.join(os.path.dirname(__file__), 'optimizers.json'), 'w') as f:
    head = json.dumps(rounded(dict(shapes=[list(w.shape) for w in start], start=[w.flatten().tolist() for w in start],
                                   gradients=[[g.flatten().tolist() for g in gs] for gs in grads])))
    f.write(head[:-1] + ',\n"runs": ' + lines(runs) + ',\n"schedules": ' + lines(tables) + '}\n')
