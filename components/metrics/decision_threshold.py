"""The decision threshold that a recipe asks for, fitted on the probabilities of a binary task."""

from collections.abc import Sequence

from textgate.components.contracts import Export, InputError
from textgate.components.metrics import threshold_for_f1, threshold_for_precision
from textgate.components.metrics.classification import Classes, Floats


def fit_threshold(truth: Classes, probabilities: Floats, labels: Sequence[str], settings: Export) -> float | None:
    """Return the threshold on the probability of the second label; None if none is asked for, or none is good enough.

    It is rounded to 4 decimals, so that rounding errors of the probabilities do not change it.

    Args:
        truth: True classes, (n,) int64.
        probabilities: (n, classes) float64.
        labels: Label names in class order.
        settings: The recipe's section ``export``.

    Raises:
        InputError: A threshold is requested for more than two labels.
    """
    if settings.threshold is None:
        return None
    if len(labels) != 2:
        raise InputError(f"export.threshold={settings.threshold} is for two labels, but there are {len(labels)}")
    if settings.min_precision is None:
        threshold = threshold_for_f1(truth, probabilities[:, 1])
    else:
        threshold = threshold_for_precision(truth, probabilities[:, 1], settings.min_precision)
    return None if threshold is None else round(threshold, 4)
