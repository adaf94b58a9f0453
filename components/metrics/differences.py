"""Paired differences of two systems on the same rows, in any metric of a gate, with 95 % intervals.

Both systems are scored on the same resamples (Koehn, Statistical Significance Tests for Machine Translation Evaluation,
EMNLP 2004).
"""

import numpy as np

from textgate.components.contracts import Estimate
from textgate.components.metrics.classification import Classes, Floats, class_counts, class_metrics
from textgate.components.metrics.probability import ProbabilityScores
from textgate.components.metrics.resampling import RESAMPLES, SEED, interval, resample_cells, resampled_counts

_CHUNK = 2**19
"""Weights of rows held in memory at a time."""


def metric_difference(metric: str, truth: Classes, predicted: Classes, reference: Classes, classes: int) -> Estimate:
    """Return a metric of ``predicted`` minus that of ``reference``.

    Args:
        metric: Name of a metric that ``class_metrics`` returns.
        truth: True classes, (n,) int64.
        predicted: Predicted classes, (n,) int64.
        reference: Classes predicted by the model to compare with, (n,) int64.
        classes: Number of classes.
    """
    cells, draws = resample_cells(np.stack([truth, predicted, reference], axis=1), classes)
    first, second = (
        class_metrics(*resampled_counts(cells[:, 0], cells[:, column], draws, classes))[metric] for column in (1, 2)
    )
    values = [class_metrics(*class_counts(truth, system, classes))[metric] for system in (predicted, reference)]
    return interval(float(values[0] - values[1]), first - second)


def pr_auc_difference(truth: Classes, probabilities: Floats, reference: Floats) -> Estimate:
    """Return the PR-AUC of ``probabilities`` minus that of ``reference``, each (n, classes) float64.

    Args:
        truth: True classes, (n,) int64; every class occurs.
        probabilities: Probabilities of the model.
        reference: Probabilities of the model to compare with.
    """
    rows, rng = len(truth), np.random.default_rng(SEED)
    systems = [ProbabilityScores(truth, each) for each in (probabilities, reference)]

    def differences(weights: Floats) -> Floats:
        first, second = (system.weighted(weights)["pr_auc"] for system in systems)
        return np.asarray(first - second)

    chunk = max(1, _CHUNK // rows)
    sizes = [min(chunk, RESAMPLES - first) for first in range(0, RESAMPLES, chunk)]
    draws = (rng.multinomial(rows, np.full(rows, 1 / rows), size=size).astype(np.float64) for size in sizes)
    return interval(float(differences(np.ones((1, rows)))[0]), np.concatenate([differences(each) for each in draws]))
