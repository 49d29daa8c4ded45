"""Golden vectors of metrics and reports from scikit-learn; thresholded areas by Keras's definition in numpy.

Run: /usr/bin/python3 test/golden/metrics.py  (scikit-learn 1.2) -> metrics.json
"""
import json
import os
import warnings
import numpy as np
from sklearn import metrics as M

warnings.filterwarnings('ignore')
rng = np.random.default_rng(5)
out = {}
f32 = lambda x: x.astype('float32').astype('float64')

# classes
n, k = 60, 4
scores = f32(rng.dirichlet(np.ones(k), n))
labels = np.where(rng.random(n) < 0.5, scores.argmax(1), rng.integers(0, k, n))
weights = f32(rng.random(n) * 2)
answers = scores.argmax(1)
per = lambda average, beta=1.0, **w: M.fbeta_score(labels, answers, beta=beta, average=average, labels=range(k), zero_division=0, **w)
out['classes'] = dict(
    labels=labels.tolist(), scores=scores.tolist(), weights=weights.tolist(),
    accuracy=M.accuracy_score(labels, answers), weightedAccuracy=M.accuracy_score(labels, answers, sample_weight=weights),
    top2=M.top_k_accuracy_score(labels, scores, k=2), weightedTop2=M.top_k_accuracy_score(labels, scores, k=2, sample_weight=weights),
    confusion=M.confusion_matrix(labels, answers).tolist(), weightedConfusion=M.confusion_matrix(labels, answers, sample_weight=weights).tolist(),
    f1=dict(perClass=per(None).tolist(), macro=per('macro'), micro=per('micro'), weighted=per('weighted'), macroSampleWeighted=per('macro', sample_weight=weights)),
    fHalf=dict(perClass=per(None, 0.5).tolist(), macro=per('macro', 0.5)),
    precisionOfClass1=M.precision_score(labels == 1, scores[:, 1] > 0.5), recallOfClass1=M.recall_score(labels == 1, scores[:, 1] > 0.5),
    microPrecision=M.precision_score(np.eye(k)[labels], scores > 0.5, average='micro'),
    microRecall=M.recall_score(np.eye(k)[labels], scores > 0.5, average='micro'),
    top1Recall=M.recall_score(labels, answers, average='micro'),
    crossentropy=M.log_loss(labels, scores, labels=range(k)), weightedCrossentropy=M.log_loss(labels, scores, labels=range(k), sample_weight=weights),
    rocAucMacro=M.roc_auc_score(labels, scores / scores.sum(1, keepdims=True), multi_class='ovr'),
    rocAucWeighted=M.roc_auc_score(labels, scores / scores.sum(1, keepdims=True), multi_class='ovr', average='weighted'))

# two classes, with ties among the scores
t = (rng.random(200) < 0.4).astype(int)
s = f32(np.clip(np.round(rng.normal(0.4 + 0.2 * t, 0.2), 2), 0, 1))
w = f32(rng.random(200))


def keras_auc(curve, method, weight=np.ones(200), count=200, inner=None):
    inner = [(i + 1) / (count - 1) for i in range(count - 2)] if inner is None else inner
    th = np.array([-1e-7] + list(inner) + [1 + 1e-7])
    pos = s[None, :].astype('float32') > th[:, None].astype('float32')
    tp, fp = (pos * (t * weight)).sum(1), (pos * ((1 - t) * weight)).sum(1)
    p, q = (t * weight).sum(), ((1 - t) * weight).sum()
    fn, tn = p - tp, q - fp
    div = lambda a, b: np.where(b == 0, 0, a / np.where(b == 0, 1, b))
    if curve == 'PR' and method == 'interpolation':
        dtp, total = tp[:-1] - tp[1:], tp + fp
        dp = total[:-1] - total[1:]
        slope = div(dtp, np.maximum(dp, 0))
        icept = tp[1:] - slope * total[1:]
        ok = (total[:-1] > 0) & (total[1:] > 0)
        ratio = np.where(ok, div(total[:-1], np.maximum(total[1:], 0)), 1)
        return div(slope * (dtp + icept * np.log(ratio)), np.maximum(tp[1:] + fn[1:], 0)).sum()
    recall = div(tp, tp + fn)
    x, y = (div(fp, fp + tn), recall) if curve == 'ROC' else (recall, div(tp, tp + fp))
    h = dict(interpolation=(y[:-1] + y[1:]) / 2, minoring=np.minimum(y[:-1], y[1:]), majoring=np.maximum(y[:-1], y[1:]))[method]
    return ((x[:-1] - x[1:]) * h).sum()


out['binary'] = dict(
    labels=t.tolist(), scores=s.tolist(), weights=w.tolist(),
    rocAuc=M.roc_auc_score(t, s), weightedRocAuc=M.roc_auc_score(t, s, sample_weight=w),
    areas=[dict(curve=c, summationMethod=m, numThresholds=k, value=keras_auc(c, m, count=k))
           for c in ('ROC', 'PR') for m in ('interpolation', 'minoring', 'majoring') for k in (200, 10)],
    weightedArea=keras_auc('ROC', 'interpolation', w), areaOfThresholds=keras_auc('ROC', 'interpolation', inner=[0.25, 0.4, 0.7]),
    accuracy=M.accuracy_score(t, s > 0.5), precision=M.precision_score(t, s > 0.5), recall=M.recall_score(t, s > 0.5),
    precisionAt=[M.precision_score(t, s > x) for x in (0.305, 0.705)], recallAt=[M.recall_score(t, s > x, sample_weight=w) for x in (0.305, 0.705)],
    f1=M.f1_score(t, s > 0.5), counts=M.confusion_matrix(t, s > 0.5).tolist())

# regression
y = f32(rng.normal(100, 1, (50, 3)) * [1, 0.1, 5])
p = f32(y + rng.normal(0, 0.5, (50, 3)))
v = f32(rng.random(50))
out['regression'] = dict(
    labels=y.tolist(), outputs=p.tolist(), weights=v.tolist(),
    r2=M.r2_score(y, p), r2PerOutput=M.r2_score(y, p, multioutput='raw_values').tolist(), r2Variance=M.r2_score(y, p, multioutput='variance_weighted'),
    weightedR2=M.r2_score(y, p, sample_weight=v), r2Adjusted=1 - (1 - M.r2_score(y, p)) * 49 / (50 - 4 - 1),
    mse=M.mean_squared_error(y, p), mae=M.mean_absolute_error(y, p), rmse=M.mean_squared_error(y, p) ** 0.5, mape=100 * M.mean_absolute_percentage_error(y, p),
    weightedMse=M.mean_squared_error(y, p, sample_weight=v))

# reports
reports = []


def report(a, b, **o):
    given = {}
    if 'classNames' in o:
        given.update(target_names=o['classNames'], labels=o.get('labels', list(range(len(o['classNames'])))))
    elif 'labels' in o:
        given.update(labels=o['labels'])
    if 'digits' in o:
        given['digits'] = o['digits']
    given['zero_division'] = o.get('zeroDivision', 0)
    d = M.classification_report(a, b, output_dict=True, **given)
    reports.append(dict(yTrue=list(map(int, a)), yPred=list(map(int, b)), options=o, text=M.classification_report(a, b, **given), json=d))


report(labels, answers)
report(labels, answers, classNames=['aeroplane', 'a very long name indeed', 'cat', 'dog'])
report(labels, answers, digits=4)
report([0] * 8 + [1] * 8, [0] * 5 + [1] * 3 + [1] * 7 + [0])  # halves: 0.625, 0.875
report([0, 0, 1, 1, 2], [0, 0, 1, 1, 1])
report([0, 0, 1, 1, 2], [0, 0, 1, 1, 1], zeroDivision=1)
report([0, 1, 2, 2, 2], [0, 0, 2, 2, 1], labels=[1, 2])
out['reports'] = reports


DATA = ('labels', 'scores', 'outputs', 'weights', 'areas', 'counts', 'f1', 'fHalf')
for name in ('classes', 'binary', 'regression'):
    keep = lambda k, v: k in DATA and not isinstance(v, float)
    out[name] = {**{k: v for k, v in out[name].items() if keep(k, v)}, 'want': {k: v for k, v in out[name].items() if not keep(k, v)}}


def rounded(x):
    if isinstance(x, float):
        return float(f'{x:.12g}')
    if isinstance(x, dict):
        return {k: rounded(v) for k, v in x.items()}
    return [rounded(v) for v in x] if isinstance(x, (list, tuple)) else (x.item() if isinstance(x, np.generic) else x)


with open(os.path.join(os.path.dirname(__file__), 'metrics.json'), 'w') as f:
    f.write('{\n' + ',\n'.join(f'{json.dumps(k)}: {json.dumps(rounded(v), default=float)}' for k, v in out.items()) + '\n}\n')
