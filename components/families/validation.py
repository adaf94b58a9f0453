"""Scores of a trained model on the validation split."""

import numpy as np
import numpy.typing as npt

from textgate.components.contracts import InputError
from textgate.components.contracts.metric_names import GATE_METRICS
from textgate.components.metrics import scores


def validation_metrics(classes: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float64]) -> dict[str, float]:
    """Return every metric that a gate can judge by, as ``validation_f1`` and so on.

    PR-AUC is left out if a class has no rows, because it is undefined then.

    Args:
        classes: True classes, (n,) int64.
        probabilities: (n, labels) float64.

    Raises:
        InputError: A probability is not a number, because the training diverged.
    """
    if not np.isfinite(probabilities).all():
        raise InputError("the training diverged: its probabilities are not numbers; lower train.learning_rate")
    values = scores(classes, probabilities.argmax(axis=1), probabilities)
    return {f"validation_{name}": values[name] for name in GATE_METRICS if name in values}
